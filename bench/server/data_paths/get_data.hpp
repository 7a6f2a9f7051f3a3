// SPDX-License-Identifier: MIT
// UBLK_F_NEED_GET_DATA: a write is delivered before its data, so that the server can choose the
// buffer then; NEED_GET_DATA names it and the driver copies.
#pragma once

#include "bench/server/data_paths/copy.hpp"

namespace ublkbench {

/// PerIoDelivery answers UBLK_IO_RES_NEED_GET_DATA; a path of this name is how it knows that it may
/// get one. A read's buffer is named by its commit, as with CopyPath.
struct GetDataPath : CopyPath {};
static_assert(DataPath<GetDataPath>);

}  // namespace ublkbench

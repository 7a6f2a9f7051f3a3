// SPDX-License-Identifier: MIT
#pragma once

namespace ublkbench {

/// Whether a file that is taken out of a ring's table is let go of at once. Before Linux 6.13 it is
/// only when every request is done that was issued before (io_uring/rsrc.c, "recycle ref nodes in
/// order"). Tried, not read off a version.
bool frees_removed_files();

}  // namespace ublkbench

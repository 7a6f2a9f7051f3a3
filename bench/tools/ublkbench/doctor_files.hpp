// SPDX-License-Identifier: MIT
#pragma once

#include "bench/record/system_files.hpp"

namespace ublkbench {

/// Those of the running machine.
inline const SystemFiles& system_files() {
  static const SystemFiles files{""};
  return files;
}

}  // namespace ublkbench

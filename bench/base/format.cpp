// SPDX-License-Identifier: MIT
#include "bench/base/format.hpp"

namespace ublkbench {

std::string formatted_with(std::string_view format, std::format_args values) {
  return std::vformat(format, values);
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "probes/lib/trouble_text.hpp"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "bench/base/format.hpp"

namespace ublkbench::probes {

std::string trouble_text(const nlohmann::json& totals, std::span<const Trouble> troubles) {
  std::string text;
  for (const auto& [counter, meaning] : troubles)
    if (const auto count = totals.value(counter, std::uint64_t{0}); count != 0)
      text += formatted("{} {}\n", count, meaning);
  return text;
}

}  // namespace ublkbench::probes

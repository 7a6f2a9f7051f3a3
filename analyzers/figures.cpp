// SPDX-License-Identifier: MIT
#include "analyzers/figures.hpp"

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {

std::string print(Figure figure, double value) {
  switch (traits(figure).print) {
    case Print::count:
      return format_count(value);
    case Print::time:
      return format_ns(value);
    case Print::whole:
      return formatted("{:.0f}", value);
    case Print::tenths:
      return formatted("{:.1f}", value);
    case Print::hundredths:
      return formatted("{:.2f}", value);
    case Print::percent:
      return formatted("{:.1f}%", 100 * value);
  }
  return {};
}

}  // namespace ublkbench::analyzers

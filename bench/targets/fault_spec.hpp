// SPDX-License-Identifier: MIT
// What "+fault:" does to which requests, as users write it; docs/targets.md has the grammar.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "bench/base/random.hpp"
#include "bench/base/result.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

/// Which requests a fault is for; all that is named must hold.
struct FaultMatch {
  std::uint32_t ops = ~0U;  ///< a bit for each Op
  double rate = 1;
  std::uint64_t begin = 0;  ///< touches the bytes [begin, end)
  std::uint64_t end = UINT64_MAX;
  std::optional<unsigned> tag;    ///< hang only
  std::optional<unsigned> queue;  ///< hang only

  /// Draws from `random` only where the rate leaves it open.
  [[nodiscard]] bool hits(const Request& request, SplitMix64& random) const {
    if ((ops >> static_cast<unsigned>(request.op) & 1) == 0) return false;
    if (request.offset >= end || request.offset + request.bytes <= begin)
      if (begin != 0 || end != UINT64_MAX) return false;
    return rate >= 1 || random.fraction() < rate;
  }
};

struct Delay {
  enum class Distribution : std::uint8_t { fixed, uniform, exponential };
  Distribution distribution = Distribution::fixed;
  std::uint64_t low_ns = 0;  ///< fixed: the delay; exponential: its mean
  std::uint64_t high_ns = 0;

  [[nodiscard]] std::uint64_t draw_ns(SplitMix64& random) const;
};

struct Fault {
  enum class Kind : std::uint8_t {
    delay,      ///< waits before the request is served
    stall,      ///< blocks the whole task
    error,      ///< fails without serving
    cut_short,  ///< serves the head and says so
    torn,       ///< writes the head and says that all was written
    hang,       ///< never completes
  };
  Kind kind = Kind::delay;
  FaultMatch match;
  Delay delay;
  std::int32_t errnum = 0;
  std::uint32_t bytes = 0;
};

struct FaultSpec {
  std::vector<Fault> faults;  ///< in the order given
  std::uint64_t seed = 1;
  std::uint64_t bytes_per_second = 0;  ///< 0: no limit
  std::uint64_t die_at = 0;            ///< the request that kills the server process; 0: none
  bool volatile_cache = false;
};

/// Parses what follows "+fault:". The error names the word.
Result<FaultSpec> parse_faults(std::string_view text);

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// What a probe had counted at the edges of a measured window, so that what warm-up and idle time
// added can be taken off.
#pragma once

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <type_traits>
#include <utility>

#include "probes/probe.hpp"

namespace ublkbench::probes {

/// `Counts` has operator-().
template <class Counts>
class Edges {
 public:
  void keep(Edge edge, Counts counts) {
    at_[static_cast<std::size_t>(edge)] = std::make_unique<Counts>(std::move(counts));
  }
  [[nodiscard]] Counts window() const {
    assert(at_[0] && at_[1]);
    return *at_[1] - *at_[0];
  }

 private:
  std::array<std::unique_ptr<Counts>, 2> at_;
};

/// Of a struct of nothing but 64-bit counters.
template <class Counters>
Counters minus(const Counters& later, const Counters& earlier) {
  static_assert(sizeof(Counters) % sizeof(std::uint64_t) == 0);
  using Words = std::array<std::uint64_t, sizeof(Counters) / sizeof(std::uint64_t)>;
  auto words = std::bit_cast<Words>(later);
  const auto before = std::bit_cast<Words>(earlier);
  for (std::size_t at = 0; at < words.size(); ++at) words[at] -= before[at];
  return std::bit_cast<Counters>(words);
}

/// Counts by something; what did not rise is left out.
template <class Key, class Less>
std::map<Key, std::uint64_t, Less> minus(const std::map<Key, std::uint64_t, Less>& later,
                                         const std::map<Key, std::uint64_t, Less>& earlier) {
  std::map<Key, std::uint64_t, Less> counts;
  for (const auto& [key, count] : later) {
    const auto before = earlier.find(key);
    const std::uint64_t rest = count - (before == earlier.end() ? 0 : before->second);
    if (rest != 0) counts.emplace(key, rest);
  }
  return counts;
}

/// For a struct of BPF's as the key of a map; it must have no padding.
struct ByBytes {
  template <class Key>
  bool operator()(const Key& a, const Key& b) const {
    static_assert(std::has_unique_object_representations_v<Key>);
    return std::bit_cast<std::array<unsigned char, sizeof(Key)>>(a) <
           std::bit_cast<std::array<unsigned char, sizeof(Key)>>(b);
  }
};

}  // namespace ublkbench::probes

// SPDX-License-Identifier: MIT
// Numbers that look random and are the same everywhere, which those of <random> and std::shuffle
// are not.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ublkbench {

/// SplitMix64 (Steele, Lea, Flood 2014).
class SplitMix64 {
 public:
  explicit SplitMix64(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// In [0, 1).
  double fraction() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// 0 to below - 1, each as likely to within 2^-32 for any sensible `below`.
  std::size_t below(std::size_t below) {
    return static_cast<std::size_t>(((next() >> 32) * below) >> 32);
  }

 private:
  std::uint64_t state_;
};

}  // namespace ublkbench

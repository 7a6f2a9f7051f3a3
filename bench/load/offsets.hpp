// SPDX-License-Identifier: MIT
// Where the next I/O goes. A dozen instructions per pick: no division, no lock, no memory beyond a
// word of state.
#pragma once

#include <cstdint>

#include "bench/load/options.hpp"

namespace ublkbench::load {

__extension__ using u128 = unsigned __int128;  // ISO C++ has no 128-bit type

/// A 64-bit generator of the "wy" family: one 64 x 64 -> 128 bit product per number. Good enough to
/// spread I/O; not for cryptography.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {
    // Neighbouring seeds (job 0, job 1, …) must not give neighbouring streams.
    state_ = next() ^ (seed << 32);
  }
  std::uint64_t next() {
    state_ += 0xa0761d6478bd642fULL;
    const u128 product = static_cast<u128>(state_) * (state_ ^ 0xe7037ed1a0b428dbULL);
    return static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
  }
  /// Evenly from 0 .. bound - 1; `bound` must not be 0. The bias is below bound / 2^64.
  std::uint64_t below(std::uint64_t bound) { return scale(next(), bound); }

  /// Maps a random 64-bit number to 0 .. bound - 1 by its high bits: one product, no division.
  static std::uint64_t scale(std::uint64_t random, std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<u128>(random) * bound) >> 64);
  }

 private:
  std::uint64_t state_;
};

/// Blocks anywhere in the range.
class RandomOffsets {
 public:
  RandomOffsets(Range range, std::uint64_t block_bytes)
      : begin_(range.begin), blocks_(range.blocks), block_bytes_(block_bytes) {}
  std::uint64_t pick(std::uint64_t random) {
    return begin_ + Random::scale(random, blocks_) * block_bytes_;
  }

 private:
  std::uint64_t begin_;
  std::uint64_t blocks_;
  std::uint64_t block_bytes_;
};

/// Block after block, from the start again at the end.
class SequentialOffsets {
 public:
  SequentialOffsets(Range range, std::uint64_t block_bytes)
      : begin_(range.begin),
        end_(range.begin + range.blocks * block_bytes),
        next_(range.begin),
        block_bytes_(block_bytes) {}
  std::uint64_t pick(std::uint64_t /*random*/) {
    const std::uint64_t offset = next_;
    next_ = offset + block_bytes_ == end_ ? begin_ : offset + block_bytes_;
    return offset;
  }

 private:
  std::uint64_t begin_;
  std::uint64_t end_;
  std::uint64_t next_;
  std::uint64_t block_bytes_;
};

}  // namespace ublkbench::load

// SPDX-License-Identifier: MIT
// What ought to be on the device, block by block, and what is wrong when something else is there.
// Does no I/O: tests feed it images.
//
// The classes, for a block whose newest acknowledged write is A:
//   lost       the block still holds the write before A, whole, and no read ever returned A
//   stale      it holds something older: a write before the one before A, a write older than one
//   that
//              a read had already returned (the device went back in time), or another run's
//   torn       it holds parts of two writes; or it is old while another block of the same write A
//   is
//              new: the write took place in part
//   misplaced  it is a sound block of another place or of another device
//   corrupt    its bytes are wrong, or it claims a write that was never made, or the read succeeded
//              without bringing any data
//   zeroed     it holds nothing but zeroes
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/verify_block.hpp"

namespace ublkbench::load {

using ublkbench::name_of;

enum class Fault : std::uint8_t { lost, stale, torn, misplaced, corrupt, zeroed };
inline constexpr std::size_t fault_count = 6;
constexpr auto names_of(Fault /*type*/) {
  return std::array<std::string_view, fault_count>{"lost",      "stale",   "torn",
                                                   "misplaced", "corrupt", "zeroed"};
}
struct Failure {
  Fault fault;
  std::uint64_t offset = 0;  ///< of the block, in bytes
  BlockIdentity expected;
  std::optional<BlockIdentity> found;  ///< empty when the block says nothing credible
  std::string sentence;                ///< the same for people

  static constexpr auto fields() {
    return std::tuple(field("fault", &Failure::fault), field("offset_bytes", &Failure::offset),
                      field("expected", &Failure::expected), field("found", &Failure::found),
                      field("sentence", &Failure::sentence));
  }
};

/// The part of the device that is verified, in blocks ("granules").
struct Geometry {
  std::uint64_t device = 0;  ///< hash that goes into every block
  std::uint64_t run = 0;
  std::uint64_t begin = 0;  ///< byte offset of granule 0
  std::uint32_t granule_bytes = 512;
  std::uint32_t granules = 0;
};

/// Fill a buffer with this before a read: data that the read did not bring must not be taken for
/// what it should have brought (the buffer may have held that very block before).
inline constexpr std::byte untouched{0xa5};

class VerifyModel {
 public:
  explicit VerifyModel(const Geometry& geometry);

  /// A write of granules first .. first + count - 1. No two writes that are not yet acknowledged or
  /// failed may overlap; nor may a read overlap such a write.
  std::uint64_t begin_write(std::uint32_t first, std::uint32_t count);
  /// The data of that write; `data` has count * granule_bytes bytes.
  void fill(std::uint64_t write, std::span<std::byte> data) const;
  void acknowledge(std::uint64_t write);
  /// The device reported an error: from now on its blocks may be old or new.
  void fail(std::uint64_t write);

  /// Checks what a read of granules first .. returned.
  void check(std::uint32_t first, std::span<const std::byte> data);
  /// Call once after the last check: turns a lost block into a torn one where other blocks of the
  /// same write were found.
  void finish();

  [[nodiscard]] const std::vector<Failure>& failures() const { return failures_; }
  [[nodiscard]] std::uint64_t count(Fault fault) const {
    return counts_[static_cast<std::size_t>(fault)];
  }
  [[nodiscard]] std::uint64_t checked() const { return checked_; }
  [[nodiscard]] std::uint64_t writes() const { return writes_.size() - 1; }
  [[nodiscard]] const Geometry& geometry() const { return geometry_; }
  [[nodiscard]] std::uint64_t offset_of(std::uint32_t granule) const {
    return geometry_.begin + std::uint64_t{granule} * geometry_.granule_bytes;
  }

  /// More failures than this are counted but not kept.
  static constexpr std::size_t failures_kept = 64;

 private:
  struct Granule {
    std::uint32_t generation = 0;  // of the newest acknowledged write
    std::uint32_t seen = 0;        // newest generation that a read returned
    std::uint32_t write = 0;       // which write that was
    bool uncertain = false;        // a failed write may have left generation + 1 here
  };
  struct Extent {
    std::uint32_t first;
    std::uint32_t count;
  };

  [[nodiscard]] BlockIdentity expected(std::uint32_t granule) const;
  void check_granule(std::uint32_t granule, std::span<const std::byte> block);
  void check_intact(std::uint32_t granule, const BlockIdentity& found);
  void add(Fault fault, std::uint32_t granule, std::optional<BlockIdentity> found,
           std::string sentence);
  [[nodiscard]] bool sibling_arrived(std::uint32_t granule) const;

  Geometry geometry_;
  std::vector<Granule> granules_;
  std::vector<Extent> writes_;  // by number; number 0 is none
  std::vector<Failure> failures_;
  std::vector<std::uint32_t> lost_;  // granules, for finish(); as many as were lost
  std::array<std::uint64_t, fault_count> counts_{};
  std::uint64_t checked_ = 0;
};

}  // namespace ublkbench::load

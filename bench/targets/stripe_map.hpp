// SPDX-License-Identifier: MIT
// Where a striped device's bytes are: chunk c of the device is chunk c / N of member c % N.
//
// What a contiguous range of the device takes of one member is contiguous there too: the chunks c,
// c + N, c + 2N... are neighbours on their member. So a request needs one vectored SQE per member.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ublkbench {

class StripeMap {
 public:
  StripeMap(std::uint32_t members, std::uint64_t chunk_bytes)
      : members_(members), chunk_bytes_(chunk_bytes) {}

  struct Place {
    std::uint32_t member = 0;
    std::uint64_t offset = 0;  ///< in the member
  };
  [[nodiscard]] Place place(std::uint64_t offset) const {
    const std::uint64_t chunk = offset / chunk_bytes_;
    return {.member = static_cast<std::uint32_t>(chunk % members_),
            .offset = chunk / members_ * chunk_bytes_ + offset % chunk_bytes_};
  }

  /// What a range takes of one member: `bytes` from `offset` on. In the request's data they are
  /// pieces: the first at `first_at` with `first_bytes`; then, from `second_at` on, a chunk every
  /// piece_distance(); the last one perhaps short.
  struct Share {
    std::uint32_t member = 0;
    std::uint32_t pieces = 0;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
    std::uint64_t first_at = 0;
    std::uint64_t first_bytes = 0;
    std::uint64_t second_at = 0;
  };

  /// How many members [offset, offset + bytes) touches; bytes is not 0.
  [[nodiscard]] std::uint32_t shares(std::uint64_t offset, std::uint64_t bytes) const {
    const std::uint64_t chunks = (offset + bytes - 1) / chunk_bytes_ - offset / chunk_bytes_ + 1;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(chunks, members_));
  }

  /// Share number `index` of them, in the order of their first bytes.
  [[nodiscard]] Share share(std::uint64_t offset, std::uint64_t bytes, std::uint32_t index) const {
    const std::uint64_t end = offset + bytes;
    const std::uint64_t first_chunk = offset / chunk_bytes_ + index;
    const std::uint64_t last_chunk = (end - 1) / chunk_bytes_;
    const std::uint64_t start = index == 0 ? offset : first_chunk * chunk_bytes_;
    const Place at = place(start);
    Share share{.member = at.member,
                .pieces = static_cast<std::uint32_t>((last_chunk - first_chunk) / members_ + 1),
                .offset = at.offset,
                .bytes = 0,
                .first_at = start - offset,
                .first_bytes = std::min(end, (first_chunk + 1) * chunk_bytes_) - start,
                .second_at = (first_chunk + members_) * chunk_bytes_ - offset};
    share.bytes = share.first_bytes;
    if (share.pieces > 1) {
      const std::uint64_t last = first_chunk + (share.pieces - 1ULL) * members_;
      share.bytes +=
          (share.pieces - 2ULL) * chunk_bytes_ + std::min(end - last * chunk_bytes_, chunk_bytes_);
    }
    return share;
  }

  /// From one piece of a share to the next, in the request's data, after the first one.
  [[nodiscard]] std::uint64_t piece_distance() const { return members_ * chunk_bytes_; }
  [[nodiscard]] std::uint64_t chunk_bytes() const { return chunk_bytes_; }
  [[nodiscard]] std::uint32_t members() const { return static_cast<std::uint32_t>(members_); }

  /// Most pieces that a request of `max_bytes` has, all shares together.
  [[nodiscard]] std::uint64_t max_pieces(std::uint64_t max_bytes) const {
    return max_bytes / chunk_bytes_ + 2;
  }

  /// Size of the device: whole chunks of the smallest member, times the members.
  [[nodiscard]] std::uint64_t device_bytes(std::uint64_t smallest_member_bytes) const {
    return smallest_member_bytes / chunk_bytes_ * chunk_bytes_ * members_;
  }

 private:
  std::uint64_t members_;
  std::uint64_t chunk_bytes_;
};

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// Provided buffers that FETCH_IO_CMDS writes tags into.
#pragma once

#include <liburing.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/base/result.hpp"
#include "bench/ring/ring.hpp"
#include "bench/server/waiting.hpp"

namespace ublkbench {

class FetchBuffers {
 public:
  /// One buffer per tag of the queue: a completion holds at least one tag that is not committed
  /// yet, so the group can never run dry.
  static Result<FetchBuffers> create(Ring& ring, std::uint16_t group, unsigned depth,
                                     unsigned tags_per_buffer = most_fetch_tags) {
    FetchBuffers buffers;
    buffers.ring_ = ring.raw();
    buffers.group_ = group;
    buffers.count_ = std::bit_ceil(depth);
    buffers.tags_per_buffer_ = tags_per_buffer;
    buffers.tags_.resize(static_cast<std::size_t>(buffers.count_) * tags_per_buffer);
    int errnum = 0;
    buffers.shared_ = io_uring_setup_buf_ring(ring.raw(), buffers.count_, group, 0, &errnum);
    if (buffers.shared_ == nullptr)
      return failed("io_uring_register buffer ring", formatted("of {}", buffers.count_), -errnum);
    for (unsigned buffer = 0; buffer < buffers.count_; ++buffer)
      buffers.add(static_cast<std::uint16_t>(buffer), static_cast<int>(buffer));
    io_uring_buf_ring_advance(buffers.shared_, static_cast<int>(buffers.count_));
    return buffers;
  }

  FetchBuffers() = default;
  FetchBuffers(FetchBuffers&& other) noexcept { *this = std::move(other); }
  FetchBuffers& operator=(FetchBuffers&& other) noexcept {
    std::swap(ring_, other.ring_);
    std::swap(shared_, other.shared_);
    std::swap(group_, other.group_);
    std::swap(count_, other.count_);
    std::swap(tags_per_buffer_, other.tags_per_buffer_);
    std::swap(tags_, other.tags_);
    return *this;
  }
  FetchBuffers(const FetchBuffers&) = delete;
  FetchBuffers& operator=(const FetchBuffers&) = delete;
  ~FetchBuffers() {
    if (shared_ != nullptr) io_uring_free_buf_ring(ring_, shared_, count_, group_);
  }

  [[nodiscard]] const std::uint16_t* buffer(std::uint16_t id) const {
    return tags_.data() + static_cast<std::size_t>(id) * tags_per_buffer_;
  }

  void give_back(std::uint16_t id) {
    add(id, 0);
    io_uring_buf_ring_advance(shared_, 1);
  }

 private:
  void add(std::uint16_t id, int offset) {
    io_uring_buf_ring_add(shared_, tags_.data() + static_cast<std::size_t>(id) * tags_per_buffer_,
                          tags_per_buffer_ * sizeof(std::uint16_t), id,
                          io_uring_buf_ring_mask(count_), offset);
  }

  io_uring* ring_ = nullptr;
  io_uring_buf_ring* shared_ = nullptr;
  std::uint16_t group_ = 0;
  unsigned count_ = 0;
  unsigned tags_per_buffer_ = most_fetch_tags;
  std::vector<std::uint16_t> tags_;
};

}  // namespace ublkbench

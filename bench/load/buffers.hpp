// SPDX-License-Identifier: MIT
// The memory that I/Os read into and write from: one slot per I/O in flight, in one mapping.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"
#include "bench/ring/ring.hpp"

namespace ublkbench::load {

/// Refuses a file that has data already, unless it is memory (tmpfs, hugetlbfs) or may be
/// overwritten: all that is read and written goes through it.
Result<> check_buffer_file(const std::string& file, bool destructive);

class Buffers {
 public:
  /// `slots` buffers of `bytes` each. With a `file` they are slots `first` .. of that file, which
  /// is created and grown if need be and mapped shared; otherwise anonymous memory.
  static Result<Buffers> create(unsigned slots, std::uint64_t bytes, const std::string& file = {},
                                std::uint64_t first = 0);

  [[nodiscard]] std::span<std::byte> slot(unsigned index) const {
    return mapping_.bytes().subspan(skip_ + index * bytes_, bytes_);
  }
  /// One iovec per slot, for registration.
  [[nodiscard]] std::vector<iovec> iovecs() const;
  /// Fills everything with bytes that do not compress and are the same for the same seed.
  void fill(std::uint64_t seed);

 private:
  Buffers(Mapping mapping, unsigned slots, std::uint64_t bytes, std::uint64_t skip)
      : mapping_(std::move(mapping)), slots_(slots), bytes_(bytes), skip_(skip) {}

  Mapping mapping_;
  unsigned slots_;
  std::uint64_t bytes_;
  std::uint64_t skip_;  // where slot 0 begins in the mapping
};

/// Keeps both until the process ends, for a ring with I/O that never completes: the kernel may
/// still write to the buffers.
void keep_for_ever(Ring ring, Buffers buffers);

}  // namespace ublkbench::load

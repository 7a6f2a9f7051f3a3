// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>

namespace ublkbench {

/// A number that one task changes and others, in other processes too, read meanwhile: plain loads
/// and relaxed stores suffice.
class Counter {
 public:
  [[gnu::always_inline]] void add(std::uint64_t amount) { set(get() + amount); }
  void set(std::uint64_t value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_ = 0;
};

}  // namespace ublkbench

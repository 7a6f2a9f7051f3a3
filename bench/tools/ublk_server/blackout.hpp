// SPDX-License-Identifier: MIT
// A client that reads a device all the time and so sees for how long nobody serves it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"
#include "bench/process/child.hpp"

namespace ublkbench {

struct Blackout {
  std::uint64_t longest_read_ns = 0;  ///< from issue to completion, the time without a server in it
  std::uint64_t usual_read_ns = 0;    ///< the longest before the server was taken away
  std::uint64_t reads = 0;
  std::uint64_t errors = 0;
};

class BlackoutClient {
 public:
  /// Reads one block of `path` after the other, in a process of its own that may get stuck without
  /// harm; returns after the first reads.
  static Result<BlackoutClient> start(const std::string& path, std::uint32_t block_bytes);
  BlackoutClient(BlackoutClient&& other) noexcept
      : shared_(std::move(other.shared_)), process_(std::move(other.process_)) {}
  BlackoutClient& operator=(BlackoutClient&&) = delete;
  BlackoutClient(const BlackoutClient&) = delete;
  BlackoutClient& operator=(const BlackoutClient&) = delete;
  ~BlackoutClient();

  /// From here on reads count.
  void begin();
  /// Waits for a few more reads, at most a second, and ends the client.
  Blackout end();

 private:
  struct Shared {
    std::atomic<std::uint64_t> longest_ns, usual_ns, reads, errors;
    std::atomic<bool> counting, ending;
  };
  BlackoutClient() = default;
  [[nodiscard]] Shared& shared() const { return *reinterpret_cast<Shared*>(shared_.data()); }
  static void read_on(int file, std::byte* block, std::uint32_t bytes, Shared& shared);
  void await_reads(std::uint64_t reads) const;

  Mapping shared_;
  process::Child process_;
};

}  // namespace ublkbench

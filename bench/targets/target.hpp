// SPDX-License-Identifier: MIT
// What serves a request's data. A target sees where the data is, never the device's mode.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/ring/chain.hpp"

namespace ublkbench {

/// The operations of a request; the values are UBLK_IO_OP_* (asserted in bench/server).
enum class Op : std::uint8_t { read = 0, write = 1, flush = 2, discard = 3, write_zeroes = 5 };

struct Request {
  Op op = Op::read;
  bool fua = false;  ///< data must be on stable storage before completion
  std::uint32_t bytes = 0;
  std::uint64_t offset = 0;  ///< bytes from the start of the device
};

/// Where a request's data is: in this process's memory, or in a buffer that the kernel registered
/// with the daemon's ring and that only SQEs can reach.
struct Data {
  enum class Place : std::uint16_t { none, memory, registered };
  Place place = Place::none;
  std::uint16_t index = 0;      ///< registered: slot in the ring's buffer table
  std::byte* memory = nullptr;  ///< memory: `Request::bytes` bytes
};

/// What the block device looks like to its users.
struct DeviceShape {
  std::uint64_t bytes = 0;
  unsigned logical_block_shift = 9;
  unsigned physical_block_shift = 12;
  unsigned dma_alignment = 511;  ///< mask of the addresses that data may start at
  bool volatile_cache = false;   ///< flush means something
  bool fua = false;
  bool discard = false;
  bool write_zeroes = false;
};

/// First index of a target's files in a daemon's table of fixed files; index 0 is /dev/ublkcN.
inline constexpr int first_target_file = 1;

class Target {
 public:
  Target() = default;
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  virtual ~Target() = default;

  [[nodiscard]] virtual DeviceShape shape() const = 0;

  /// Files to register with each daemon's ring, from index first_target_file on.
  [[nodiscard]] virtual std::vector<int> files() const { return {}; }

  /// Most SQEs that one request needs at once.
  [[nodiscard]] virtual unsigned max_steps() const { return 1; }

  /// Serves one request: completes it on the spot with chain.complete(), or puts SQEs in flight.
  /// Called from daemon tasks, concurrently for different requests.
  virtual void queue(const Request& request, const Data& data, Chain& chain) noexcept = 0;
};

/// Makes the target that `spec` names: "null", "mem:SIZE" or "loop:PATH". Errors name the spec.
Result<std::unique_ptr<Target>> make_target(std::string_view spec);

/// One line per kind of target, for --help.
std::string_view target_help();

}  // namespace ublkbench

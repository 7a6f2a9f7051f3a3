// SPDX-License-Identifier: MIT
// What a load is: the words a user gives, as values, and what is wrong with them. Everything that
// can be checked without a device is checked by validate(options); the rest by validate(options,
// facts), which sees the device's limits. Nothing is adjusted silently: what cannot be done is
// refused.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/load/device.hpp"

namespace ublkbench::load {

enum class Pattern { read, write, randread, randwrite, rw, randrw };

/// "randread" -> Pattern::randread; ExitCode::usage for any other word.
Result<Pattern> parse_pattern(std::string_view word);
std::string_view name_of(Pattern pattern);
std::vector<std::string> pattern_words();
[[nodiscard]] constexpr bool is_random(Pattern pattern) {
  return pattern == Pattern::randread || pattern == Pattern::randwrite ||
         pattern == Pattern::randrw;
}
[[nodiscard]] constexpr bool is_mixed(Pattern pattern) {
  return pattern == Pattern::rw || pattern == Pattern::randrw;
}
[[nodiscard]] constexpr bool writes(Pattern pattern) {
  return pattern != Pattern::read && pattern != Pattern::randread;
}

struct LoadOptions {
  std::string device;  ///< block device or regular file
  Pattern pattern = Pattern::randread;
  unsigned rw_mix_read_percent = 50;  ///< of rw and randrw: how many I/Os in a hundred read
  std::uint64_t block_bytes = 4096;
  unsigned depth = 128;         ///< I/Os in flight per job
  unsigned submit_batch = 0;    ///< at most so many new I/Os per io_uring_enter(); 0: depth/4, >= 1
  unsigned complete_batch = 0;  ///< completions that an enter waits for; 0: depth/4, at least 1

  unsigned jobs = 1;          ///< threads, each with a ring of its own
  std::vector<int> job_cpus;  ///< job i runs on job_cpus[i % size]; empty: not pinned

  bool fixed_buffers = true;    ///< IORING_OP_*_FIXED on registered buffers
  bool registered_file = true;  ///< IOSQE_FIXED_FILE
  bool direct = true;           ///< O_DIRECT
  bool hipri = false;           ///< polled completions; needs a device with poll queues
  /// Where the data lives; empty: anonymous memory. A path (for instance on hugetlbfs) is created
  /// if it is missing, grown to jobs * depth * block_bytes, and mapped shared: a server that maps
  /// the same file can then take the data without a copy.
  std::string buffer_file;

  // Work: exactly one of `ios` and `runtime_ns` is not 0.
  std::uint64_t ios = 0;                      ///< measured I/Os of all jobs together
  std::uint64_t runtime_ns = 0;               ///< length of the measured window
  std::uint64_t warmup_ios = default_warmup;  ///< of all jobs, before a window of fixed work
  std::uint64_t warmup_ns = 500'000'000;      ///< before a window of fixed time

  /// I/Os per second of all jobs together, at constant intervals; 0: as fast as the depth allows.
  /// Latency is then measured from the instant at which the I/O was due, sent or not.
  std::uint64_t rate_iops = 0;
  bool record_latency = true;  ///< off: no clock is read on the hot path

  std::uint64_t seed = 1;
  std::uint64_t offset = 0;  ///< first byte of the range that is used
  std::uint64_t range = 0;   ///< its length; 0: to the end of the device

  bool destructive = false;  ///< writes are allowed
  bool allow_split = false;  ///< block_bytes above the device's limit is allowed

  std::uint64_t max_errors = 1;                    ///< the run ends at this many failed I/Os
  std::uint64_t hang_timeout_ns = 30'000'000'000;  ///< no completion for so long is a hang
  const std::atomic<bool>* stop = nullptr;         ///< true ends the run soon; may be null

  static constexpr std::uint64_t default_warmup = ~std::uint64_t{0};
  static constexpr std::uint64_t default_warmup_bytes = 256ULL << 20;

  [[nodiscard]] unsigned effective_submit_batch() const;
  [[nodiscard]] unsigned effective_complete_batch() const;
  /// Unless given max(4 * depth * jobs, 2000), but no more than 256M in so many blocks, once each
  /// tag had one, and no more than two seconds of an open loop.
  [[nodiscard]] std::uint64_t effective_warmup_ios() const;
};

/// What is wrong with the options by themselves; ExitCode::usage.
Result<> validate(const LoadOptions& options);
/// What this device cannot do; ExitCode::usage, or ExitCode::environment for a missing feature.
Result<> validate(const LoadOptions& options, const DeviceFacts& facts);
/// Things worth knowing that are no errors ("the kernel may split 512k: …").
std::vector<std::string> remarks(const LoadOptions& options, const DeviceFacts& facts);

/// The part of the device that is used, whole blocks only.
struct Range {
  std::uint64_t begin = 0;   ///< byte offset
  std::uint64_t blocks = 0;  ///< blocks of block_bytes
};
Range range_of(const LoadOptions& options, const DeviceFacts& facts);

}  // namespace ublkbench::load

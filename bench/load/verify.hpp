// SPDX-License-Identifier: MIT
// Does a device keep what it is given? Three phases of fixed work:
//   1. fill: every block of the range is written once, in large writes;
//   2. overwrite: random writes of several sizes, no two in flight that overlap, a quarter of them
//      read back at once; then a flush;
//   3. read back: everything is read in random order and in different sizes, every block checked.
// Destroys what is in the range. verify_model.hpp says what can be found wrong.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/load/report.hpp"
#include "bench/load/verify_model.hpp"

namespace ublkbench::load {

struct VerifyOptions {
  std::string device;
  std::uint64_t offset = 0;        ///< first byte of the range
  std::uint64_t range = 16 << 20;  ///< bytes; the device's end limits it; 0: the whole device
  std::uint64_t random_writes = 2000;
  std::vector<std::uint64_t> sizes{512, 4096, 16384, 65536};  ///< of I/Os; those that fit are used
  unsigned depth = 32;
  unsigned read_back_percent = 25;  ///< of random writes, read as soon as they are acknowledged
  bool stores_data = true;  ///< false (a null device): only completions are checked, not contents
  bool flush = true;        ///< between overwriting and reading back

  // How the I/O travels, as in LoadOptions: verify the path that will be measured.
  bool fixed_buffers = true;
  bool registered_file = true;
  bool direct = true;
  std::string buffer_file;

  std::uint64_t seed = 1;    ///< of offsets and sizes
  bool destructive = false;  ///< must be true: everything in the range is overwritten
  std::uint64_t hang_timeout_ns = 30'000'000'000;
  const std::atomic<bool>* stop = nullptr;
  /// Called between overwriting and reading back; tests plant faults there.
  std::function<void()> before_read_back;
};

struct VerifyReport {
  Ending ending = Ending::completed;
  std::uint64_t range_bytes = 0;
  std::uint32_t block_bytes = 0;  ///< unit of checking: the logical block size
  std::uint64_t writes = 0;       ///< I/Os
  std::uint64_t written_bytes = 0;
  std::uint64_t reads = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t checked_blocks = 0;
  std::uint64_t duration_ns = 0;
  std::array<std::uint64_t, fault_count> faults{};  ///< blocks, by Fault
  std::vector<Failure> failures;                    ///< the first of them, in full
  std::uint64_t errors = 0;                         ///< failed and short I/Os
  std::optional<IoError> first_error;               ///< errnum 0: it was short
  std::optional<HangReport> hang;

  [[nodiscard]] std::uint64_t bad_blocks() const;
  [[nodiscard]] bool passed() const;
  /// More is wrong than right: as of a device that stores nothing.
  [[nodiscard]] bool kept_hardly_anything() const;
  /// ExitCode::ok, io, hang or interrupted.
  [[nodiscard]] ExitCode exit_code() const;
  /// Blocks by fault.
  [[nodiscard]] std::map<std::string, std::uint64_t> fault_counts() const;

  static constexpr auto fields() {
    using R = VerifyReport;
    return std::tuple(derived("passed", &R::passed), field("ending", &R::ending),
                      field("range_bytes", &R::range_bytes), field("block_bytes", &R::block_bytes),
                      field("writes", &R::writes), field("written_bytes", &R::written_bytes),
                      field("reads", &R::reads), field("read_bytes", &R::read_bytes),
                      field("checked_blocks", &R::checked_blocks),
                      field("duration_ns", &R::duration_ns), field("errors", &R::errors),
                      derived("faults", &R::fault_counts), field("failures", &R::failures),
                      field("first_error", &R::first_error), field("hang", &R::hang));
  }
};

/// Faults of the device are part of the report; an Error means that verification could not run.
Result<VerifyReport> verify_device(const VerifyOptions& options);

/// A few lines for people, without a final newline.
std::string to_text(const VerifyReport& report);

}  // namespace ublkbench::load

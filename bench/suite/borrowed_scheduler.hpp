// SPDX-License-Identifier: MIT
// The I/O scheduler of a device that the run did not make: changed for the run, and put back. A
// file in /run/ublkbench, locked by the run, says what to put back when the run was killed.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/suite/scheduler.hpp"

namespace ublkbench {

/// What a change of the scheduler takes from a queue: the scheduler and its settings (iosched/),
/// and what the block layer derives anew from it (nr_requests, wbt_lat_usec, ...).
struct QueueSettings {
  std::string disk;  ///< "sda"
  std::string scheduler;
  /// Below queue/, in the order in which they are to be written.
  std::vector<std::pair<std::string, std::string>> files;

  static QueueSettings of(const std::string& disk);
  /// Writes what differs now.
  [[nodiscard]] Result<> put_back() const;
};

class BorrowedScheduler {
 public:
  /// Puts `word` in force on a device of somebody else's.
  static Result<BorrowedScheduler> take(const std::string& block_device, const std::string& word);
  BorrowedScheduler(BorrowedScheduler&& other) noexcept;
  BorrowedScheduler& operator=(BorrowedScheduler&&) = delete;
  ~BorrowedScheduler();

  /// Undoes take(); what cannot be undone is an error that says how to do it by hand.
  Result<> give_back();
  [[nodiscard]] const SchedulerChoice& choice() const { return choice_; }
  /// One line about what was changed; empty if nothing was.
  [[nodiscard]] std::string note() const;

 private:
  BorrowedScheduler() = default;

  SchedulerChoice choice_;
  std::optional<QueueSettings> before_;
  std::string record_path_;
  Fd record_;
};

/// Puts back what killed runs changed, on the disks that are still the same; a line for each.
std::vector<std::string> put_back_left_schedulers();

}  // namespace ublkbench

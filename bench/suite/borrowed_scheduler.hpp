// SPDX-License-Identifier: MIT
// The I/O scheduler of a device that the run did not make: changed as the cells ask for it, and put
// back at the end. A file in /run/ublkbench, locked by the run, says what to put back when the run
// was killed.
#pragma once

#include <map>
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
  explicit BorrowedScheduler(std::string block_device) : device_(std::move(block_device)) {}
  BorrowedScheduler(BorrowedScheduler&& other) noexcept;
  BorrowedScheduler& operator=(BorrowedScheduler&&) = delete;
  ~BorrowedScheduler();

  /// Puts `word` in force; 'keep' is what the device had. What somebody else has chosen since the
  /// last call is an error, and stays.
  Result<SchedulerChoice> put(const std::string& word);
  /// Undoes put(); what cannot be undone is an error that says how to do it by hand.
  Result<> give_back();
  /// One line about what was changed; empty if nothing was.
  [[nodiscard]] std::string note() const;

 private:
  Result<> remember(const QueueSettings& settings, const std::string& word);
  [[nodiscard]] Result<SchedulerChoice> put_back_for_now();

  std::string device_;
  std::optional<SchedulerChoice> choice_;
  std::optional<QueueSettings> before_;
  std::string record_path_;
  Fd record_;
};

/// By path, of all devices that a run measures and did not make.
using BorrowedSchedulers = std::map<std::string, BorrowedScheduler>;

/// Puts back what killed runs changed, on the disks that are still the same; a line for each.
std::vector<std::string> put_back_left_schedulers();

}  // namespace ublkbench

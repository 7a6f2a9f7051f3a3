// SPDX-License-Identifier: MIT
// The I/O scheduler of a measured device. The block layer gives a device of one hardware queue
// mq-deadline where it is there (block/elevator.c, elevator_set_default), and neither loop nor a
// device of two queues: so a comparison of two devices would compare schedulers, too.
#pragma once

#include <string>
#include <string_view>

#include "bench/base/result.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench {

inline constexpr const char* no_scheduler = "none";
inline constexpr const char* keep_scheduler = "keep";  ///< what the device has is left in force

/// What queue/scheduler has in brackets.
SchedulerName scheduler_in_force(const std::string& block_device, const std::string& root = {});

/// Puts scheduler `word` in force on the disk of `block_device`, and reads back what then is. Where
/// `none` may not be set (read-only /sys, no privilege) that is a choice with a reason; any other
/// word that is not obeyed is an error.
Result<SchedulerChoice> choose_scheduler(const std::string& block_device, const std::string& word,
                                         const std::string& root = {});

/// Fails when another scheduler than `choice` has is in force by now: a udev rule, another program.
Result<> check_scheduler_stayed(const std::string& block_device, const SchedulerChoice& choice);

/// Writes a file of /sys within a bound: a queue is frozen for a new scheduler, which takes as long
/// as its I/O.
Result<> write_queue_file(const std::string& path, std::string_view text);

}  // namespace ublkbench

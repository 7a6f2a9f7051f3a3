// SPDX-License-Identifier: MIT
// A block device that somebody else serves (--device): what can be known of it and of its server.
// What cannot is left out, not guessed.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/control/uapi.hpp"
#include "bench/record/run_record.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench {

struct ForeignDevice {
  std::string path;
  unsigned queues = 0;                        ///< hardware queues; 0: the driver shows none
  std::optional<ublksrv_ctrl_dev_info> ublk;  ///< as GET_DEV_INFO answers
  std::optional<ForeignServer> server;        ///< nothing where it cannot be told

  /// For the record, into what it has of the device already.
  void describe(MeasuredDevice& device) const;
  /// What two runs must have in common: no numbers that the next start changes.
  [[nodiscard]] ForeignIdentity identity() const;
};

/// Looks at what is there now. Refuses what is no block device.
Result<ForeignDevice> look_at_device(const std::string& path);

/// The same again, during a run; an error where another device or server has taken its place.
Result<ForeignDevice> look_again(const ForeignDevice& before);

}  // namespace ublkbench

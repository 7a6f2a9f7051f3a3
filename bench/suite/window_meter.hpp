// SPDX-License-Identifier: MIT
// What is read at both edges of a measured window besides load and server: the block layer's own
// statistics of the device, and the CPU quotas of server and load.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench {

class WindowMeter {
 public:
  /// `server`: of a device that has none, 0. Opens all that the edges read, and reads it once.
  WindowMeter(const std::string& device, pid_t server);
  void begin() { read(begin_); }
  void end() { read(end_); }

  /// Of the window; nothing where the kernel keeps no statistics.
  [[nodiscard]] std::optional<BlockUse> block() const;
  [[nodiscard]] QuotaUse cpu_quota() const;

 private:
  /// A small file of the kernel as it was at an edge. Its text is kept and understood later: the
  /// edge is part of the window, and under -icount every instruction of it is counted.
  struct Text {
    std::array<char, 1024> bytes;
    std::size_t length = 0;
    [[nodiscard]] std::string string() const { return {bytes.data(), length}; }
  };
  struct Reading {
    std::uint64_t at_ns = 0;
    Text block;
    Text server;
    Text load;
  };
  struct Group {
    std::optional<CpuQuota> quota;
    Fd stat;
  };
  static Group group_of(pid_t process);
  static void take(const Fd& file, Text& text);
  static std::optional<CpuQuota> used(const Group& group, const Text& earlier, const Text& later);
  void read(Reading& reading) const;

  Fd block_stat_;
  Group server_;
  Group load_;
  Reading begin_;
  Reading end_;
};

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/control/features.hpp"

#include <array>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

// First kernels: the release whose ublk_drv.c has the flag in UBLK_F_ALL. UBLK_F_SUPPORT_ZERO_COPY
// is bit 0 since 6.0, but every kernel before 6.15 clears it.
constexpr std::array features{
    Feature{UBLK_F_SUPPORT_ZERO_COPY, "UBLK_F_SUPPORT_ZERO_COPY", "6.15"},
    Feature{UBLK_F_URING_CMD_COMP_IN_TASK, "UBLK_F_URING_CMD_COMP_IN_TASK", "6.0"},
    Feature{UBLK_F_NEED_GET_DATA, "UBLK_F_NEED_GET_DATA", "6.0"},
    Feature{UBLK_F_USER_RECOVERY, "UBLK_F_USER_RECOVERY", "6.1"},
    Feature{UBLK_F_USER_RECOVERY_REISSUE, "UBLK_F_USER_RECOVERY_REISSUE", "6.1"},
    Feature{UBLK_F_UNPRIVILEGED_DEV, "UBLK_F_UNPRIVILEGED_DEV", "6.3"},
    Feature{UBLK_F_CMD_IOCTL_ENCODE, "UBLK_F_CMD_IOCTL_ENCODE", "6.4"},
    Feature{UBLK_F_USER_COPY, "UBLK_F_USER_COPY", "6.5"},
    Feature{UBLK_F_ZONED, "UBLK_F_ZONED", "6.6"},
    Feature{UBLK_F_USER_RECOVERY_FAIL_IO, "UBLK_F_USER_RECOVERY_FAIL_IO", "6.13"},
    Feature{UBLK_F_UPDATE_SIZE, "UBLK_F_UPDATE_SIZE", "6.16"},
    Feature{UBLK_F_AUTO_BUF_REG, "UBLK_F_AUTO_BUF_REG", "6.16"},
    Feature{UBLK_F_QUIESCE, "UBLK_F_QUIESCE", "6.16"},
    Feature{UBLK_F_PER_IO_DAEMON, "UBLK_F_PER_IO_DAEMON", "6.16"},
    Feature{UBLK_F_BUF_REG_OFF_DAEMON, "UBLK_F_BUF_REG_OFF_DAEMON", "6.17"},
    Feature{UBLK_F_BATCH_IO, "UBLK_F_BATCH_IO", "7.0"},
    Feature{UBLK_F_INTEGRITY, "UBLK_F_INTEGRITY", "7.0"},
    Feature{UBLK_F_SAFE_STOP_DEV, "UBLK_F_SAFE_STOP_DEV", "7.0"},
    Feature{UBLK_F_NO_AUTO_PART_SCAN, "UBLK_F_NO_AUTO_PART_SCAN", "7.0"},
    Feature{UBLK_F_SHMEM_ZC, "UBLK_F_SHMEM_ZC", "7.1"},
    Feature{UBLK_F_IO_DESC_SIZE, "UBLK_F_IO_DESC_SIZE", "7.3"},
};

}  // namespace

std::span<const Feature> all_features() { return features; }

Feature feature(std::uint64_t flag) {
  for (const Feature& known : features)
    if (known.flag == flag) return known;
  return {flag, {}, {}};
}

std::vector<std::string> feature_list(std::uint64_t flags) {
  std::vector<std::string> names;
  for (int bit = 0; bit < 64; ++bit) {
    const std::uint64_t flag = 1ULL << bit;
    if ((flags & flag) == 0) continue;
    const Feature known = feature(flag);
    names.push_back(known.name.empty() ? formatted("bit{}", bit) : std::string(known.name));
  }
  return names;
}

std::string feature_names(std::uint64_t flags) {
  std::string names;
  for (const std::string& name : feature_list(flags)) {
    if (!names.empty()) names += '|';
    names += name;
  }
  return names.empty() ? "none" : names;
}

}  // namespace ublkbench

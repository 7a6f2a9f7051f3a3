// SPDX-License-Identifier: MIT
#include "bench/control/removal.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "bench/base/format.hpp"
#include "bench/control/holders.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::control {
namespace {

/// Numbers are given out from the lowest free one on, so a device that is going is rarely far above
/// those that are there.
constexpr int numbers_above = 16;

/// Without sysfs nothing is known to be missing in it.
bool in_sysfs(int id) {
  const std::filesystem::path devices = "/sys/class/ublk-char";
  std::error_code error;
  return !std::filesystem::exists(devices, error) ||
         std::filesystem::exists(devices / formatted("ublkc{}", id), error);
}

void name_all(std::string& text, const std::vector<Process>& processes, std::string_view node) {
  for (const Process& process : processes)
    text += formatted("{}{} has {} open", text.empty() ? "" : ", ", process.text(), node);
}

}  // namespace

bool is_going(int id) {
  // In this order: a device that somebody adds meanwhile is in sysfs.
  const auto device = info(id);
  return device && device->state == UBLK_S_DEV_DEAD && !in_sysfs(id);
}

std::vector<int> going_ids() {
  std::vector<int> ids = ids_of_removed_nodes();
  const std::vector<int> present = device_ids();
  const int highest = present.empty() ? 0 : present.back();
  for (int id = 0; id <= highest + numbers_above; ++id) ids.push_back(id);
  std::ranges::sort(ids);
  ids.erase(std::ranges::unique(ids).begin(), ids.end());
  std::erase_if(ids, [&](int id) { return std::ranges::contains(present, id) || !is_going(id); });
  // ADD_DEV takes the number a moment before the device is in sysfs.
  if (!ids.empty()) ::usleep(20'000);
  std::erase_if(ids, [](int id) { return !is_going(id); });
  return ids;
}

std::string who_keeps(int id) {
  std::string text;
  name_all(text, char_device_holders(id), formatted("/dev/ublkc{}", id));
  name_all(text, block_device_openers(id), formatted("/dev/ublkb{}", id));
  if (!text.empty()) return text;
  return sees_every_process()
             ? "no process has; a file system that was mounted on it, a device on top of it or the "
               "end of its server may ('ublk-dump' says more)"
             : "who has it open cannot be seen from here";
}

Result<> remove(int id, std::uint64_t timeout_ns) {
  const std::uint64_t deadline_ns = process::deadline_after(timeout_ns);
  if (auto deleted = delete_once(id, timeout_ns); !deleted) return deleted;
  const auto gone =
      process::wait_until("its number to be free", deadline_ns, [id] { return !is_going(id); });
  if (gone || gone.error().errnum != ETIMEDOUT) return gone;
  return failed("delete", formatted("ublk device {}", id), EBUSY,
                formatted("its disk is gone, its number is not free yet: {}", who_keeps(id)));
}

}  // namespace ublkbench::control

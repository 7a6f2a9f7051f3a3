// SPDX-License-Identifier: MIT
#include "bench/record/block_queue.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/record/system_files.hpp"

namespace ublkbench {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

json text_json(const std::optional<std::string>& text) { return text ? json(*text) : json(); }

/// As an integer where it is one.
json value_json(const std::optional<std::string>& text) {
  const auto number = text ? whole_number(*text) : std::nullopt;
  return number ? json(*number) : text_json(text);
}

/// Schedulers of the disks that a device lies on (dm, md), at whatever depth: it has none of its
/// own, or one that decides less than theirs.
void add_schedulers_below(const SystemFiles& files, const std::string& folder, int depth,
                          json& found) {
  constexpr int depth_max = 8;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(files.path(folder + "/slaves"), error)) {
    const auto disk = disk_folder(entry.path().filename().string(), files.path(""));
    if (!disk) continue;
    if (const auto scheduler = files.chosen(*disk + "/queue/scheduler"))
      found[fs::path(*disk).filename().string()] = *scheduler;
    if (depth < depth_max) add_schedulers_below(files, *disk, depth + 1, found);
  }
}

}  // namespace

std::optional<std::string> disk_folder(const std::string& block_device, const std::string& root) {
  const SystemFiles files(root);
  std::error_code error;
  const auto node = fs::canonical(
      block_device.contains('/') ? files.path(block_device) : files.path("/dev/" + block_device),
      error);
  const std::string name = (error ? fs::path(block_device) : node).filename().string();
  std::string folder = "/sys/class/block/" + name;
  if (name.empty() || !files.exists(folder)) return std::nullopt;
  if (!files.exists(folder + "/partition")) return folder;
  const auto disk = fs::canonical(files.path(folder), error).parent_path().filename().string();
  return "/sys/class/block/" + disk;
}

unsigned hardware_queues(const std::string& block_device, const std::string& root) {
  const SystemFiles files(root);
  const auto folder = disk_folder(block_device, root);
  unsigned queues = 0;
  std::error_code error;
  if (folder)
    for (const auto& entry : fs::directory_iterator(files.path(*folder + "/mq"), error))
      queues += entry.is_directory() ? 1 : 0;
  return queues;
}

RawJson queue_limits(const std::string& block_device, const std::string& root) {
  const SystemFiles files(root);
  const auto folder = disk_folder(block_device, root);
  if (!folder) return {};
  json limits = {{"scheduler", text_json(files.chosen(*folder + "/queue/scheduler"))}};
  const auto add = [&](const char* setting) {
    limits[setting] = value_json(files.text(formatted("{}/queue/{}", *folder, setting)));
  };
  std::ranges::for_each(queue_settings_that_decide, add);
  std::ranges::for_each(
      std::array{"max_hw_sectors_kb", "max_discard_segments", "physical_block_size",
                 "minimum_io_size", "optimal_io_size", "discard_granularity", "discard_max_bytes",
                 "write_zeroes_max_bytes"},
      add);
  limits["hardware_queues"] = hardware_queues(block_device, root);
  json below = json::object();
  add_schedulers_below(files, *folder, 0, below);
  if (!below.empty()) limits["schedulers_below"] = std::move(below);
  return {json_text(limits)};
}

}  // namespace ublkbench

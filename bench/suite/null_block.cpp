// SPDX-License-Identifier: MIT
#include "bench/suite/null_block.hpp"

#include <sys/mount.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/control/maker.hpp"
#include "bench/process/program.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench {
namespace {

namespace fs = std::filesystem;

constexpr const char* config_root = "/sys/kernel/config";
constexpr const char* null_root = "/sys/kernel/config/nullb";
constexpr std::string_view folder_prefix = "ublkbench-";
constexpr std::uint64_t module_limit_ns = 30'000'000'000;
constexpr std::uint64_t node_limit_ns = 5'000'000'000;

bool exists(const char* path) { return ::access(path, F_OK) == 0; }

Result<> write_attribute(const std::string& folder, std::string_view name, std::uint64_t value) {
  const std::string path = formatted("{}/{}", folder, name);
  auto file = open_file(path, O_WRONLY);
  if (!file) return std::unexpected(file.error());
  const std::string text = formatted("{}\n", value);
  if (::write(file->get(), text.data(), text.size()) < 0)
    return failed("write", formatted("{} to {}", value, path), errno);
  return {};
}

/// Runs modprobe; nr_devices=0, because the module would make a /dev/nullb0 of its own.
void load_module() {
  // Where a user's $PATH has no sbin.
  std::string modprobe = process::find_program("modprobe");
  if (modprobe.empty()) modprobe = "/sbin/modprobe";
  (void)process::run_program({modprobe, "-q", "null_blk", "nr_devices=0"}, module_limit_ns);
}

Result<> make_available() {
  if (!exists(null_root)) load_module();
  if (!exists(null_root) && exists(config_root))
    ::mount("configfs", config_root, "configfs", 0, nullptr);
  if (exists(null_root)) return {};
  return unsupported("null_blk cannot be loaded",
                     "run as root on a kernel with CONFIG_BLK_DEV_NULL_BLK, or use --control none");
}

/// The first free "ublkbench-STAMP-N" folder. configfs is every container's, so the name says who
/// made it as a ublk device's stamp does; a disk's name has room for 31 characters.
Result<std::string> make_folder() {
  const std::uint64_t stamp = control::encode(control::own_stamp());
  for (unsigned number = 0; number < 1000; ++number) {
    const std::string folder =
        formatted("{}/{}{:016x}-{}", null_root, folder_prefix, stamp, number);
    std::error_code error;
    if (fs::create_directory(folder, error)) return folder;
    if (error) return failed("mkdir", folder, error.value());
  }
  return failed("mkdir", null_root, EEXIST);
}

std::optional<control::Stamp> maker_of(const std::string& name) {
  std::uint64_t stamp = 0;
  const char* const begin = name.data() + folder_prefix.size();
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), stamp, 16);
  if (error != std::errc{} || end != begin + 16) return std::nullopt;
  return control::decode(stamp);
}

void remove_folder(const std::string& folder) {
  (void)write_attribute(folder, "power", 0);
  std::error_code error;
  fs::remove(folder, error);  // configfs: rmdir; its files are not ours to delete
}

Result<std::string> device_path(const std::string& folder) {
  std::ifstream file(folder + "/index");
  unsigned index = 0;
  if (!(file >> index)) return failed("read", folder + "/index", EIO);
  const std::string path = formatted("/dev/nullb{}", index);
  // A configfs device is called by its folder (null_blk/main.c, null_add_dev); older kernels
  // number.
  const std::string by_name = "/dev/" + fs::path(folder).filename().string();
  std::string found;
  const auto there = process::wait_until(path, process::deadline_after(node_limit_ns), [&] {
    for (const std::string& node : {by_name, path})
      if (found.empty() && ::access(node.c_str(), F_OK) == 0) found = node;
    return !found.empty();
  });
  if (!there) return std::unexpected(there.error());
  return found;
}

}  // namespace

Result<NullBlock> NullBlock::create(unsigned queues, unsigned depth, std::uint64_t bytes) {
  if (auto available = make_available(); !available) return std::unexpected(available.error());
  auto folder = make_folder();
  if (!folder) return std::unexpected(folder.error());
  NullBlock device(*folder, {});
  const std::pair<std::string_view, std::uint64_t> attributes[] = {{"size", bytes >> 20},
                                                                   {"submit_queues", queues},
                                                                   {"hw_queue_depth", depth},
                                                                   {"queue_mode", 2},
                                                                   {"irqmode", 1},
                                                                   {"blocksize", 512},
                                                                   {"memory_backed", 0},
                                                                   {"power", 1}};
  for (const auto& [name, value] : attributes)
    if (auto written = write_attribute(*folder, name, value); !written)
      return std::unexpected(written.error());
  auto path = device_path(*folder);
  if (!path) return std::unexpected(path.error());
  device.path_ = *path;
  return device;
}

NullBlock::NullBlock(NullBlock&& other) noexcept
    : folder_(std::exchange(other.folder_, {})), path_(std::exchange(other.path_, {})) {}

NullBlock& NullBlock::operator=(NullBlock&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(path_, other.path_);
  return *this;
}

NullBlock::~NullBlock() {
  if (!folder_.empty()) remove_folder(folder_);
}

StaleNullBlocks remove_stale_null_blocks() {
  StaleNullBlocks stale;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(null_root, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(folder_prefix)) continue;
    const auto maker = maker_of(name);
    const auto state = maker ? std::optional(control::state_of(*maker)) : std::nullopt;
    if (state == control::MakerState::dead) {
      remove_folder(entry.path());
      ++stale.removed;
    } else if (state == control::MakerState::elsewhere) {
      stale.spared.push_back(name + " (made in another PID namespace)");
    } else if (!state) {
      stale.spared.push_back(name + " (its name does not say who made it)");
    }
  }
  return stale;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/suite/null_block.hpp"

#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <format>
#include <fstream>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/base/fd.hpp"

namespace ublkbench {
namespace {

namespace fs = std::filesystem;

constexpr const char* config_root = "/sys/kernel/config";
constexpr const char* null_root = "/sys/kernel/config/nullb";
constexpr std::string_view folder_prefix = "ublkbench-";

Result<> write_attribute(const std::string& folder, std::string_view name, std::uint64_t value) {
  const std::string path = std::format("{}/{}", folder, name);
  auto file = open_file(path, O_WRONLY);
  if (!file) return std::unexpected(file.error());
  const std::string text = std::format("{}\n", value);
  if (::write(file->get(), text.data(), text.size()) < 0)
    return failed("write", std::format("{} to {}", value, path), errno);
  return {};
}

/// Runs modprobe; nr_devices=0, because the module would make a /dev/nullb0 of its own.
void load_module() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::execlp("modprobe", "modprobe", "-q", "null_blk", "nr_devices=0", nullptr);
    ::_exit(127);
  }
  if (child > 0) ::waitpid(child, nullptr, 0);
}

Result<> make_available() {
  if (!fs::exists(null_root)) load_module();
  if (!fs::exists(null_root) && fs::exists(config_root))
    ::mount("configfs", config_root, "configfs", 0, nullptr);
  if (fs::exists(null_root)) return {};
  return unsupported("null_blk cannot be loaded",
                     "run as root on a kernel with CONFIG_BLK_DEV_NULL_BLK, or use --control none");
}

/// The first free "ublkbench-PID-N" folder.
Result<std::string> make_folder() {
  for (unsigned number = 0; number < 1000; ++number) {
    const std::string folder =
        std::format("{}/{}{}-{}", null_root, folder_prefix, ::getpid(), number);
    std::error_code error;
    if (fs::create_directory(folder, error)) return folder;
    if (error) return failed("mkdir", folder, error.value());
  }
  return failed("mkdir", null_root, EEXIST);
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
  const std::string path = std::format("/dev/nullb{}", index);
  // A configfs device is called by its folder (null_blk/main.c, null_add_dev); older kernels
  // number.
  const std::string by_name = "/dev/" + fs::path(folder).filename().string();
  const std::uint64_t deadline_ns = now_ns() + 5'000'000'000;
  while (now_ns() < deadline_ns) {
    if (fs::exists(by_name)) return by_name;
    if (fs::exists(path)) return path;
    ::usleep(1000);
  }
  return failed("wait for", path, ETIMEDOUT);
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

unsigned remove_stale_null_blocks() {
  unsigned removed = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(null_root, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(folder_prefix)) continue;
    int pid = 0;
    std::from_chars(name.data() + folder_prefix.size(), name.data() + name.size(), pid);
    if (pid <= 0 || ::kill(pid, 0) == 0 || errno != ESRCH) continue;
    remove_folder(entry.path());
    ++removed;
  }
  return removed;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/load/device.hpp"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "bench/base/file_use.hpp"
#include "bench/base/format.hpp"

namespace ublkbench::load {
namespace {

namespace fs = std::filesystem;

std::uint64_t read_number(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  file >> number;
  return file ? number : 0;
}

/// A partition has no queue of its own in sysfs: its disk is the directory above.
fs::path queue_of(dev_t device) {
  const fs::path node = formatted("/sys/dev/block/{}:{}", major(device), minor(device));
  std::error_code error;
  if (fs::exists(node / "queue", error)) return node / "queue";
  return node / ".." / "queue";
}

Result<DeviceFacts> block_facts(int fd, const std::string& path, dev_t device) {
  DeviceFacts facts{.path = path, .is_block = true};
  int logical = 0;
  if (::ioctl(fd, BLKGETSIZE64, &facts.bytes) != 0) return failed("read size of", path, errno);
  if (::ioctl(fd, BLKSSZGET, &logical) != 0) return failed("read block size of", path, errno);
  facts.logical_block_bytes = static_cast<unsigned>(logical);
  const fs::path queue = queue_of(device);
  facts.max_hw_bytes = read_number(queue / "max_hw_sectors_kb") * 1024;
  facts.max_bytes = read_number(queue / "max_sectors_kb") * 1024;
  facts.max_segments = static_cast<unsigned>(read_number(queue / "max_segments"));
  facts.io_poll = read_number(queue / "io_poll") != 0;
  facts.merges = read_number(queue / "nomerges") == 0;
  return facts;
}

/// The name of a partition of `device` that somebody holds exclusively, or nothing. Claiming a
/// whole disk already fails while a partition is claimed (block/bdev.c, bd_prepare_to_claim); swap
/// files and loop devices on a partition do not always claim it, so holders are looked up as well.
std::string busy_partition(dev_t device) {
  const fs::path node = formatted("/sys/dev/block/{}:{}", major(device), minor(device));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(node, error)) {
    if (!fs::exists(entry.path() / "partition", error)) continue;
    if (!fs::is_empty(entry.path() / "holders", error) && !error)
      return entry.path().filename().string();
  }
  return {};
}

/// Every direct read of a block device looks whether its inode's access time is due (block/fops.c,
/// blkdev_read_iter() calls file_accessed()): about 100 instructions per I/O that are no property
/// of the device. Only the owner of the node may do without.
Result<Fd> open_without_atime(const std::string& path, int flags) {
  auto fd = open_file(path, flags | O_NOATIME);
  if (!fd && fd.error().errnum == EPERM) return open_file(path, flags);
  return fd;
}

/// Why it must not be written: who uses it. Nothing when nobody does.
std::optional<std::string> use_of(int fd, const struct stat& status) {
  const FileId id = file_id(status);
  if (auto use = kernel_use(id, true)) return use;
  if (!S_ISBLK(status.st_mode) && is_held(fd, true)) return users_of(id);
  if (S_ISBLK(status.st_mode))
    if (const std::string partition = busy_partition(status.st_rdev); !partition.empty())
      return formatted("partition {} is in use", partition);
  return std::nullopt;
}

std::unexpected<Error> in_use(const std::string& path, const std::string& by_whom) {
  auto error =
      failed("open", path, EBUSY, by_whom + "; writing to it would destroy its user's data");
  return std::unexpected(error.error().with_exit(ExitCode::usage));
}

std::string_view hint_for(int errnum) {
  if (errnum == EACCES) return "run as root";
  if (errnum == ENOENT) return "give the path of a block device or of a regular file";
  if (errnum == EINVAL) return "this file system may not do O_DIRECT: try without direct I/O";
  return {};
}

}  // namespace

Result<Device> open_device(const std::string& path, Access access, bool direct) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return failed("stat", path, errno, hint_for(errno));
  const bool is_block = S_ISBLK(status.st_mode);
  if (!is_block && !S_ISREG(status.st_mode))
    return bad_input(path + " is neither a block device nor a regular file");
  int flags = access == Access::write ? O_RDWR : O_RDONLY;
  if (direct) flags |= O_DIRECT;
  if (is_block && access == Access::write) flags |= O_EXCL;
  auto fd = open_without_atime(path, flags);
  // The last user's ring may still be on its way out (io_uring/io_uring.c, io_ring_exit_work), and
  // its files with it.
  for (int tries = 0; tries < 200 && !fd && fd.error().errnum == EBUSY; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    fd = open_without_atime(path, flags);
  }
  if (!fd && fd.error().errnum == EBUSY) return in_use(path, users_of(file_id(status)));
  if (!fd) return std::unexpected(fd.error().with_hint(std::string(hint_for(fd.error().errnum))));
  if (access == Access::write)
    if (const auto use = use_of(fd->get(), status)) return in_use(path, *use);
  if (!is_block)
    return Device{std::move(*fd),
                  {.path = path, .bytes = static_cast<std::uint64_t>(status.st_size)}};
  auto facts = block_facts(fd->get(), path, status.st_rdev);
  if (!facts) return std::unexpected(facts.error());
  return Device{std::move(*fd), std::move(*facts)};
}

}  // namespace ublkbench::load

// SPDX-License-Identifier: MIT
#include "bench/base/file_use.hpp"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

namespace fs = std::filesystem;

constexpr int hold_tries = 200;
constexpr std::chrono::milliseconds hold_pause{10};

/// The entries of a folder; one that goes away meanwhile has no more of them.
std::vector<fs::path> entries(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator();
       at.increment(error))
    paths.push_back(at->path());
  return paths;
}

fs::path sysfs_node(dev_t device) {
  return formatted("/sys/dev/block/{}:{}", major(device), minor(device));
}

/// The disk that a partition is on; of a disk itself.
dev_t disk_of(dev_t device) {
  std::error_code error;
  const fs::path node = sysfs_node(device);
  if (!fs::exists(node / "partition", error)) return device;
  std::ifstream file(node / ".." / "dev");
  unsigned major_number = 0;
  unsigned minor_number = 0;
  char colon = 0;
  if (!(file >> major_number >> colon >> minor_number)) return device;
  return makedev(major_number, minor_number);
}

/// Names in files of /proc have blanks, tabs, newlines and backslashes as octal numbers.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    unsigned code = 0;
    const char* const digits = text.data() + at + 1;
    if (text[at] == '\\' && text.size() - at > 3 &&
        std::from_chars(digits, digits + 3, code, 8).ptr == digits + 3) {
      plain += static_cast<char>(code);
      at += 3;
    } else {
      plain += text[at];
    }
  }
  return plain;
}

bool leads_to(const std::string& path, const FileId& id) {
  const auto found = file_id(path);
  return found && overlaps(*found, id);
}

/// What a loop device serves. Asked of the device, because the name in sysfs is of another mount
/// namespace or of a file that was renamed; by name where its node cannot be opened.
std::optional<FileId> loop_backing(const std::string& name, const std::string& path) {
  loop_info64 info{};
  if (const auto device = open_file("/dev/" + name, O_RDONLY))
    if (::ioctl(device->get(), LOOP_GET_STATUS64, &info) == 0) {
      if (info.lo_rdevice != 0)
        return FileId{.is_block = true, .device = info.lo_rdevice, .inode = 0};
      return FileId{.is_block = false, .device = info.lo_device, .inode = info.lo_inode};
    }
  return file_id(path);
}

std::optional<std::string> loop_use(const FileId& id, bool writes) {
  for (const fs::path& entry : entries("/sys/block")) {
    const std::string name = entry.filename().string();
    if (!name.starts_with("loop")) continue;
    const std::string backing = first_line(entry / "loop/backing_file");
    if (backing.empty()) continue;
    if (!writes && first_line(entry / "ro") == "1") continue;
    const auto served = loop_backing(name, backing);
    if (served && overlaps(*served, id)) return formatted("loop device /dev/{} has it", name);
  }
  return std::nullopt;
}

std::optional<std::string> swap_use(const FileId& id) {
  std::ifstream swaps("/proc/swaps");
  std::string line;
  std::getline(swaps, line);  // the titles
  while (std::getline(swaps, line))
    if (leads_to(unescaped(line.substr(0, line.find_first_of(" \t"))), id))
      return "it is in use as swap";
  return std::nullopt;
}

/// The first mount of it in this mount namespace: a disk's file system, or a file that is mounted
/// without a loop device (erofs does that).
std::optional<std::string> mount_use(const FileId& id) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string skipped;
    std::string device;
    std::string place;
    fields >> skipped >> skipped >> device >> skipped >> place;
    const auto rest = line.find(" - ");
    if (rest == std::string::npos) continue;
    std::istringstream behind(line.substr(rest + 3));
    std::string type;
    std::string source;
    behind >> type >> source;
    // Other names (of a network's file system, say) could block; only disks and files are asked.
    const bool local = source.starts_with("/dev/") || type == "erofs";
    if (local && leads_to(unescaped(source), id))
      return formatted("it is mounted on {}", unescaped(place));
  }
  return std::nullopt;
}

/// "dm-0", "md127": the devices on top of it or of a partition of it.
std::vector<std::string> holders(const fs::path& node) {
  std::vector<std::string> names;
  for (const fs::path& entry : entries(node / "holders"))
    names.push_back(entry.filename().string());
  std::error_code error;
  for (const fs::path& entry : entries(node))
    if (fs::exists(entry / "partition", error))
      std::ranges::move(holders(entry), std::back_inserter(names));
  return names;
}

/// Through the link, because the name that it shows may be of another mount namespace; without
/// asking a file server, which may be dead.
std::optional<FileId> open_file_id(const fs::path& link) {
  struct statx status{};
  if (::statx(AT_FDCWD, link.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &status) != 0)
    return std::nullopt;
  if (S_ISBLK(status.stx_mode))
    return FileId{.is_block = true,
                  .device = makedev(status.stx_rdev_major, status.stx_rdev_minor),
                  .inode = 0};
  return FileId{.is_block = false,
                .device = makedev(status.stx_dev_major, status.stx_dev_minor),
                .inode = status.stx_ino};
}

bool has_open(const fs::path& process, const FileId& id) {
  return std::ranges::any_of(entries(process / "fd"), [&id](const fs::path& link) {
    const auto opened = open_file_id(link);
    return opened && overlaps(*opened, id);
  });
}

std::vector<std::string> openers(const FileId& id) {
  constexpr std::size_t enough = 4;
  std::vector<std::string> names;
  for (const fs::path& entry : entries("/proc")) {
    const std::string pid = entry.filename().string();
    if (!std::ranges::all_of(pid, [](char c) { return c >= '0' && c <= '9'; })) continue;
    if (pid == std::to_string(::getpid()) || names.size() == enough) continue;
    if (has_open(entry, id))
      names.push_back(formatted("process {} ({})", pid, first_line(entry / "comm")));
  }
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

struct flock whole_file(bool writes) {
  struct flock lock{};
  lock.l_type = static_cast<short>(writes ? F_WRLCK : F_RDLCK);
  lock.l_whence = SEEK_SET;
  return lock;  // length 0: to the end, wherever it will be
}

}  // namespace

FileId file_id(const struct stat& status) {
  if (S_ISBLK(status.st_mode)) return {.is_block = true, .device = status.st_rdev, .inode = 0};
  return {.is_block = false, .device = status.st_dev, .inode = status.st_ino};
}

std::optional<FileId> file_id(const std::string& path) {
  struct stat status{};
  if (path.empty() || ::stat(path.c_str(), &status) != 0) return std::nullopt;
  return file_id(status);
}

bool overlaps(const FileId& one, const FileId& other) {
  if (one == other) return true;
  if (!one.is_block || !other.is_block) return false;
  return disk_of(one.device) == other.device || disk_of(other.device) == one.device;
}

std::optional<std::string> kernel_use(const FileId& id, bool writes) {
  if (auto use = loop_use(id, writes)) return use;
  if (auto use = swap_use(id)) return use;
  return id.is_block ? std::nullopt : mount_use(id);
}

std::string users_of(const FileId& id) {
  if (auto use = kernel_use(id, true)) return *use;
  if (auto use = mount_use(id)) return *use;
  if (id.is_block)
    if (const auto names = holders(sysfs_node(id.device)); !names.empty())
      return joined(names) + (names.size() == 1 ? " is on top of it" : " are on top of it");
  if (const auto names = openers(id); !names.empty())
    return joined(names) + (names.size() == 1 ? " has it open" : " have it open");
  return "nobody was found who has it: a process in another PID namespace, or a mount in another "
         "mount namespace";
}

// Open file description locks: they belong to the open file, so a server keeps them after the fork
// that made it, and nobody loses them by closing another descriptor of the file. QEMU locks its
// images so, too.
Result<> hold(int fd, const std::string& path, bool writes) {
  for (int tries = 0; tries < hold_tries; ++tries) {
    struct flock lock = whole_file(writes);
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return {};
    if (errno != EAGAIN && errno != EACCES) return {};
    std::this_thread::sleep_for(hold_pause);
  }
  return failed("lock", path, EBUSY);
}

bool is_held(int fd, bool writes) {
  struct flock lock = whole_file(writes);
  return ::fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace ublkbench

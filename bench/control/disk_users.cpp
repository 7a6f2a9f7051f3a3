// SPDX-License-Identifier: MIT
#include "bench/control/disk_users.hpp"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "bench/base/first_line.hpp"
#include "bench/base/format.hpp"
#include "bench/control/holders.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::control {
namespace {

namespace fs = std::filesystem;
using Kind = DiskUser::Kind;

/// How long udev, blkid and the like may look at a disk that was just made.
constexpr std::uint64_t short_look_ns = 3'000'000'000;

/// The disk and its partitions: names, and numbers such as "259:3".
struct Disk {
  std::set<std::string> names;
  std::set<std::string> numbers;
  std::vector<fs::path> folders;  ///< in /sys

  [[nodiscard]] bool is(const std::string& path) const {
    return path.starts_with("/dev/") && names.contains(path.substr(5));
  }
};

void add_part(Disk& disk, const fs::path& folder) {
  disk.names.insert(folder.filename().string());
  disk.numbers.insert(first_line(folder / "dev"));
  disk.folders.push_back(folder);
}

Disk find_disk(int id) {
  Disk disk;
  const std::string name = formatted("ublkb{}", id);
  const fs::path folder = "/sys/block/" + name;
  std::error_code error;
  if (!fs::exists(folder, error)) return disk;
  add_part(disk, folder);
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error))
    if (entry->path().filename().string().starts_with(name + 'p')) add_part(disk, entry->path());
  return disk;
}

/// One process of each mount namespace that can be seen.
std::vector<std::string> mount_tables() {
  std::vector<std::string> tables{"/proc/self/mountinfo"};
  std::set<std::string> seen;
  std::error_code error;
  seen.insert(fs::read_symlink("/proc/self/ns/mnt", error).string());
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string process = entry->path().string();
    if (std::isdigit(static_cast<unsigned char>(process[6])) == 0) continue;
    std::error_code hidden;
    const auto space = fs::read_symlink(process + "/ns/mnt", hidden);
    if (!hidden && seen.insert(space.string()).second) tables.push_back(process + "/mountinfo");
  }
  return tables;
}

void find_mounts(const Disk& disk, std::vector<DiskUser>& users) {
  std::set<std::string> points;
  for (const std::string& table : mount_tables()) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
      // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELDS] - TYPE SOURCE SUPER, Linux's
      // filesystems/proc.rst; btrfs has a number of its own, so the source counts as well.
      std::istringstream fields(line);
      std::string skipped, number, point, source;
      fields >> skipped >> skipped >> number >> skipped >> point;
      while (fields >> skipped && skipped != "-") {
      }
      fields >> skipped >> source;
      if (disk.numbers.contains(number) || disk.is(source)) points.insert(point);
    }
  }
  for (const std::string& point : points) users.push_back({Kind::mount, "mounted on " + point});
}

void find_swap(const Disk& disk, std::vector<DiskUser>& users) {
  std::ifstream file("/proc/swaps");
  for (std::string line; std::getline(file, line);)
    if (const std::string path = line.substr(0, line.find(' ')); disk.is(path))
      users.push_back({Kind::swap, path + " is swap"});
}

void find_devices_above(const Disk& disk, std::vector<DiskUser>& users) {
  std::error_code error;
  for (const fs::path& folder : disk.folders)
    for (fs::directory_iterator entry(folder / "holders", error), end; !error && entry != end;
         entry.increment(error))
      users.push_back({Kind::device, "held by " + entry->path().filename().string()});
  for (fs::directory_iterator entry("/sys/block", error), end; !error && entry != end;
       entry.increment(error))
    if (disk.is(first_line(entry->path() / "loop/backing_file")))
      users.push_back({Kind::device, "held by " + entry->path().filename().string()});
}

bool only_processes(const std::vector<DiskUser>& users) {
  return std::ranges::all_of(users, [](const auto& user) { return user.kind == Kind::process; });
}

}  // namespace

std::vector<DiskUser> disk_users(int id) {
  std::vector<DiskUser> users;
  const Disk disk = find_disk(id);
  if (disk.names.empty()) return users;
  find_mounts(disk, users);
  find_swap(disk, users);
  find_devices_above(disk, users);
  for (const Process& process : block_device_openers(id))
    users.push_back({Kind::process, "open in " + process.text()});
  return users;
}

std::string in_words(const std::vector<DiskUser>& users) {
  std::string text;
  for (const DiskUser& user : users) text += (text.empty() ? "" : ", ") + user.text;
  return text;
}

Result<> refuse_if_used(int id) {
  std::vector<DiskUser> users;
  (void)process::wait_until(formatted("/dev/ublkb{} to be closed", id),
                            process::deadline_after(short_look_ns), [&] {
                              users = disk_users(id);
                              return users.empty() || !only_processes(users);
                            });
  if (users.empty()) return {};
  return failed("remove", formatted("/dev/ublkb{}", id), EBUSY,
                formatted("{}; --force takes the disk away all the same", in_words(users)));
}

}  // namespace ublkbench::control

// SPDX-License-Identifier: MIT
#include "bench/control/device_lock.hpp"

#include <fcntl.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "bench/base/format.hpp"
#include "bench/control/command.hpp"
#include "bench/control/holders.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::control {
namespace {

// Two bytes a device, far behind what anybody else may lock.
constexpr off_t first_byte = off_t{1} << 40;
enum class Purpose : std::uint8_t { watch, operation };

struct flock range(int id, Purpose purpose, short type) {
  struct flock range{};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = first_byte + 2 * off_t{id} + (purpose == Purpose::operation ? 1 : 0);
  range.l_len = 1;
  return range;
}

// Locks of the open file (OFD), not of the process: those end with any close() of the node, and
// each control command opens and closes it.
bool set(int fd, int id, Purpose purpose, short type) {
  struct flock wanted = range(id, purpose, type);
  return ::fcntl(fd, F_OFD_SETLK, &wanted) == 0;
}

/// Whether fdinfo lists a lock for writing on just this byte: "lock: 1: OFDLCK ADVISORY WRITE -1
/// 00:06:123 5 5".
bool holds(const std::string& fdinfo, off_t byte) {
  const std::string wanted = formatted(" {} {}", byte, byte);
  std::ifstream file(fdinfo);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("lock:") && line.contains("WRITE") && line.ends_with(wanted)) return true;
  return false;
}

std::optional<Process> holder_of(int id) {
  const off_t byte = range(id, Purpose::operation, F_WRLCK).l_start;
  for (const Process& process : control_node_holders()) {
    std::error_code error;
    const std::string folder = formatted("/proc/{}/fdinfo", process.pid);
    for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error))
      if (holds(entry->path(), byte)) return process;
  }
  return std::nullopt;
}

std::unexpected<Error> is_busy(int id) {
  const auto holder = holder_of(id);
  return failed("wait for", formatted("ublk device {}", id), EBUSY,
                formatted("{} is in the middle of an operation on it",
                          holder ? holder->text() : "a process that cannot be seen from here"));
}

}  // namespace

void DeviceWatch::add(int id) {
  if (!control_.valid()) {
    auto node = open_file(control_path, O_RDWR);
    if (!node) return;
    control_ = std::move(*node);
  }
  // Shared: an old supervisor may still be there when the next one comes.
  (void)set(control_.get(), id, Purpose::watch, F_RDLCK);
}

bool is_watched(int id) {
  const auto node = open_file(control_path, O_RDWR);
  if (!node) return false;
  struct flock asked = range(id, Purpose::watch, F_WRLCK);
  return ::fcntl(node->get(), F_OFD_GETLK, &asked) == 0 && asked.l_type != F_UNLCK;
}

Result<DeviceLock> DeviceLock::take(int id, std::uint64_t timeout_ns) {
  auto node = open_control();
  if (!node) return std::unexpected(node.error());
  int errnum = 0;
  const auto answered = process::wait_until(
      formatted("ublk device {}", id), process::deadline_after(timeout_ns), [&] {
        errnum = set(node->get(), id, Purpose::operation, F_WRLCK) ? 0 : errno;
        return errnum != EAGAIN && errnum != EACCES;
      });
  if (!answered && answered.error().errnum == ETIMEDOUT) return is_busy(id);
  if (!answered) return std::unexpected(answered.error());
  if (errnum != 0)
    return failed("lock", formatted("ublk device {} in {}", id, control_path), errnum);
  return DeviceLock(id, std::move(*node));
}

// By hand: a child that was forked meanwhile has the file open, too.
void DeviceLock::release() {
  if (control_.valid()) (void)set(control_.get(), id_, Purpose::operation, F_UNLCK);
  control_.reset();
}

DeviceLock& DeviceLock::operator=(DeviceLock&& other) noexcept {
  if (this != &other) {
    release();
    id_ = other.id_;
    control_ = std::move(other.control_);
  }
  return *this;
}

DeviceLock::~DeviceLock() { release(); }

}  // namespace ublkbench::control

// SPDX-License-Identifier: MIT
#include "bench/suite/scheduler.hpp"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "bench/base/format.hpp"
#include "bench/process/child.hpp"
#include "bench/process/wait.hpp"
#include "bench/record/block_queue.hpp"
#include "bench/record/system_files.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t patience_ns = 10'000'000'000;
constexpr const char* has_none = "no scheduler at all";
/// While a disk is added or removed the kernel answers EBUSY (elv_iosched_store).
constexpr std::uint64_t busy_ns = 2'000'000'000;

int write_once(const char* path, std::string_view text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return errno;
  return ::write(file, text.data(), text.size()) < 0 ? errno : 0;
}

/// The errno of a write by a child, which may sleep in the kernel beyond any signal.
Result<int> write_by_child(const std::string& path, std::string_view text) {
  auto child = process::Child::start({.what = path + " to take effect"},
                                     [&] { return write_once(path.c_str(), text); });
  if (!child) return std::unexpected(child.error());
  const auto status = child->wait(process::deadline_after(patience_ns));
  if (status) return WIFEXITED(*status) ? WEXITSTATUS(*status) : EIO;
  (void)child->kill(0);
  if (status.error().errnum != ETIMEDOUT) return status;
  return std::unexpected(failed("write", formatted("{} to {}", text, path), ETIMEDOUT,
                                "the device does not complete its I/O")
                             .error()
                             .with_exit(ExitCode::hang));
}

bool is_forbidden(int errnum) {
  return std::ranges::contains(std::array{EROFS, EACCES, EPERM}, errnum);
}

std::string scheduler_file(const std::string& folder) { return folder + "/queue/scheduler"; }

Error refused(const std::string& file, const std::string& word, const SystemFiles& files) {
  return {.operation = formatted("--scheduler {}: {} does not offer it", word, file),
          .object = {},
          .errnum = 0,
          .hint = formatted("it has {}; 'keep' leaves what is there",
                            files.text(file).value_or("nothing")),
          .exit = ExitCode::usage};
}

}  // namespace

Result<> write_queue_file(const std::string& path, std::string_view text) {
  Result<int> errnum;
  const auto written = process::wait_until(path, process::deadline_after(busy_ns), [&] {
    errnum = write_by_child(path, text);
    return !errnum || *errnum != EBUSY;
  });
  if (!errnum) return std::unexpected(errnum.error());
  if (*errnum == 0) return {};
  if (!written && written.error().errnum != ETIMEDOUT) return written;
  return failed("write", formatted("{} to {}", text, path), *errnum);
}

SchedulerName scheduler_in_force(const std::string& block_device, const std::string& root) {
  const auto folder = disk_folder(block_device, root);
  return folder ? SystemFiles(root).chosen(scheduler_file(*folder)) : std::nullopt;
}

Result<SchedulerChoice> choose_scheduler(const std::string& block_device, const std::string& word,
                                         const std::string& root) {
  const SystemFiles files(root);
  const auto folder = disk_folder(block_device, root);
  const std::string file = scheduler_file(folder.value_or("/sys/class/block/?"));
  const SchedulerName found = files.chosen(file);
  SchedulerChoice choice{.asked = word, .found = found, .in_force = found, .why_not = {}};
  if (word == keep_scheduler || found == word) return choice;
  if (!found && word == no_scheduler) return choice;  // there is none to choose
  if (!found)
    return bad_input(formatted("--scheduler {}: {} has no I/O scheduler", word, block_device),
                     "it works on bios, or it is no disk: use none or keep");
  const auto written = write_queue_file(files.path(file), word);
  if (!written) {
    if (written.error().errnum == EINVAL) return std::unexpected(refused(file, word, files));
    if (word != no_scheduler || !is_forbidden(written.error().errnum))
      return std::unexpected(written.error());
    choice.why_not = written.error().message();
  }
  choice.in_force = files.chosen(file);
  // A kernel may take the word and do nothing (6.12, elv_iosched_store).
  if (choice.in_force == word || choice.why_not) return choice;
  return std::unexpected(refused(file, word, files));
}

Result<> check_scheduler_stayed(const std::string& block_device, const SchedulerChoice& choice) {
  const SchedulerName now = scheduler_in_force(block_device);
  if (now == choice.in_force) return {};
  return unsupported(
      formatted("the I/O scheduler of {} changed from {} to {} while it was measured", block_device,
                choice.in_force.value_or(has_none), now.value_or(has_none)),
      "a udev rule or another program sets it; --scheduler keep takes what is there");
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/suite/borrowed_scheduler.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/record/block_queue.hpp"
#include "bench/record/record_codec.hpp"
#include "bench/record/system_files.hpp"

namespace ublkbench {
namespace {

namespace fs = std::filesystem;

constexpr const char* records_folder = "/run/ublkbench";
constexpr std::string_view record_prefix = "scheduler-";
constexpr std::string_view record_suffix = ".json";
constexpr int record_version = 1;

std::string queue_file(const std::string& disk, const std::string& name) {
  return formatted("/sys/class/block/{}/queue/{}", disk, name);
}

/// No other disk since boot has this number (Linux 5.15).
std::optional<std::int64_t> disk_sequence(const std::string& disk) {
  return SystemFiles("").number(formatted("/sys/class/block/{}/diskseq", disk));
}

/// What puts a disk's scheduler back when the run was killed.
struct BorrowingRecord {
  int version = record_version;
  std::string disk;
  std::optional<std::int64_t> disk_sequence;
  std::string set;
  std::string scheduler;
  std::vector<std::pair<std::string, std::string>> files;

  static constexpr auto fields() {
    using R = BorrowingRecord;
    return std::tuple(required("version", &R::version), required("disk", &R::disk),
                      nullable("disk_sequence", &R::disk_sequence), required("set", &R::set),
                      required("scheduler", &R::scheduler), required("files", &R::files));
  }
};

/// A process's lock and not an open file's: servers are forked while it is held.
bool try_lock(int file) {
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return ::fcntl(file, F_SETLK, &lock) == 0;
}

bool is_still(const std::string& path, int file) {
  struct stat named{};
  struct stat open{};
  return ::stat(path.c_str(), &named) == 0 && ::fstat(file, &open) == 0 &&
         named.st_ino == open.st_ino && named.st_dev == open.st_dev;
}

/// The record of a disk, ours until it is closed; EAGAIN while another run has it.
Result<Fd> lock_record(const std::string& path, int flags) {
  for (;;) {
    auto file = open_file(path, flags | O_NOFOLLOW, 0600);
    if (!file) return file;
    if (!try_lock(file->get())) return failed("lock", path, EAGAIN);
    if (is_still(path, file->get())) return file;  // else its owner removed it meanwhile
    if ((flags & O_CREAT) == 0) return failed("open", path, ENOENT);
  }
}

Result<> write_record(int file, const QueueSettings& settings, const std::string& set,
                      const std::string& path) {
  const std::string text =
      record_text(BorrowingRecord{.disk = settings.disk,
                                  .disk_sequence = disk_sequence(settings.disk),
                                  .set = set,
                                  .scheduler = settings.scheduler,
                                  .files = settings.files}) +
      '\n';
  if (::ftruncate(file, 0) != 0 || ::pwrite(file, text.data(), text.size(), 0) < 0)
    return failed("write", path, errno);
  return {};
}

/// What a killed run left in the file, if it is still so; empty if there is nothing to do.
std::optional<QueueSettings> left_in(int file, const std::string& path) {
  // Not opened a second time: closing that would give up the lock.
  std::string text(64U << 10, '\0');
  text.resize(
      static_cast<std::size_t>(std::max<ssize_t>(::pread(file, text.data(), text.size(), 0), 0)));
  auto record = record_of_text<BorrowingRecord>(text, path);
  if (!record || record->version != record_version) return std::nullopt;
  const bool same_disk =
      record->disk_sequence && record->disk_sequence == disk_sequence(record->disk);
  const bool as_it_was_set = scheduler_in_force(record->disk) == record->set;
  if (!same_disk || !as_it_was_set) return std::nullopt;
  return QueueSettings{.disk = std::move(record->disk),
                       .scheduler = std::move(record->scheduler),
                       .files = std::move(record->files)};
}

std::string by_hand(const QueueSettings& settings) {
  return formatted("by hand: echo {} >{}", settings.scheduler,
                   queue_file(settings.disk, "scheduler"));
}

}  // namespace

QueueSettings QueueSettings::of(const std::string& disk) {
  const SystemFiles files("");
  QueueSettings settings{.disk = disk, .scheduler = {}, .files = {}};
  settings.scheduler = files.chosen(queue_file(disk, "scheduler")).value_or("");
  // async_depth is cut to nr_requests, and both begin anew with a scheduler.
  std::vector<std::string> names{"nr_requests", "async_depth", "wbt_lat_usec"};
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(queue_file(disk, "iosched"), error))
    names.push_back("iosched/" + entry.path().filename().string());
  for (const std::string& name : names)
    if (auto value = files.text(queue_file(disk, name)))
      settings.files.emplace_back(name, std::move(*value));
  return settings;
}

Result<> QueueSettings::put_back() const {
  const SystemFiles now("");
  const std::string file = queue_file(disk, "scheduler");
  if (now.chosen(file) != scheduler)
    if (auto written = write_queue_file(file, scheduler); !written) return written;
  for (const auto& [name, value] : files) {
    if (now.text(queue_file(disk, name)) == value) continue;
    if (auto written = write_queue_file(queue_file(disk, name), value); !written) return written;
  }
  return {};
}

/// Before anything changes: the record is what puts it back when the run is killed.
Result<> BorrowedScheduler::remember(const QueueSettings& settings, const std::string& word) {
  if (!record_.valid()) {
    std::error_code error;
    fs::create_directories(records_folder, error);
    record_path_ =
        formatted("{}/{}{}{}", records_folder, record_prefix, settings.disk, record_suffix);
    auto record = lock_record(record_path_, O_RDWR | O_CREAT);
    if (!record && record.error().errnum == EAGAIN)
      return unsupported(formatted("another run has set the I/O scheduler of {}", settings.disk),
                         "wait for its end, or use --scheduler keep");
    // Without the file (no root, /run is read-only) only a killed run cannot be made good.
    if (!record) return {};
    record_ = std::move(*record);
  }
  return write_record(record_.get(), settings, word, record_path_);
}

Result<SchedulerChoice> BorrowedScheduler::put_back_for_now() {
  const SchedulerName found = scheduler_in_force(device_);
  if (before_)
    if (auto done = before_->put_back(); !done)
      return std::unexpected(done.error().with_hint(by_hand(*before_)));
  return SchedulerChoice{.asked = keep_scheduler,
                         .found = found,
                         .in_force = scheduler_in_force(device_),
                         .why_not = {}};
}

Result<SchedulerChoice> BorrowedScheduler::put(const std::string& word) {
  if (choice_) {
    if (auto stayed = check_scheduler_stayed(device_, *choice_); !stayed)
      return std::unexpected(stayed.error());
    if (choice_->asked == word) return *choice_;
  }
  const auto folder = disk_folder(device_);
  const SchedulerName found = scheduler_in_force(device_);
  if (folder && found && word != keep_scheduler && found != word) {
    if (!before_) {
      QueueSettings settings = QueueSettings::of(fs::path(*folder).filename().string());
      if (auto kept = remember(settings, word); !kept) return std::unexpected(kept.error());
      before_ = std::move(settings);
    } else if (auto kept = remember(*before_, word); !kept) {
      return std::unexpected(kept.error());
    }
  }
  choice_.reset();  // on an error all that was changed by then is given back
  auto choice = word == keep_scheduler ? put_back_for_now() : choose_scheduler(device_, word);
  if (choice) choice_ = *choice;
  return choice;
}

Result<> BorrowedScheduler::give_back() {
  if (!before_) return {};
  const process::Uninterrupted until_it_is_back;
  const QueueSettings settings = *std::exchange(before_, std::nullopt);
  const SchedulerName now = scheduler_in_force(settings.disk);
  // A disk that is gone, or that somebody has chosen for since, is left as it is.
  const bool ours = choice_ ? now == choice_->in_force : now != settings.scheduler;
  if (ours)
    if (auto done = settings.put_back(); !done)
      return std::unexpected(done.error().with_hint(by_hand(settings)));
  if (record_.valid()) ::unlink(record_path_.c_str());
  record_.reset();
  return {};
}

BorrowedScheduler::BorrowedScheduler(BorrowedScheduler&& other) noexcept
    : device_(std::move(other.device_)),
      choice_(std::move(other.choice_)),
      before_(std::exchange(other.before_, std::nullopt)),
      record_path_(std::move(other.record_path_)),
      record_(std::move(other.record_)) {}

BorrowedScheduler::~BorrowedScheduler() {
  if (auto done = give_back(); !done) say("ublkbench: note: {}", done.error().message());
}

std::string BorrowedScheduler::note() const {
  if (choice_ && choice_->why_not)
    return formatted("the I/O scheduler stays {}: {}", choice_->in_force.value_or(""),
                     *choice_->why_not);
  if (!before_ || !choice_) return {};
  return formatted("I/O scheduler of {}: {} for this run, {} again at its end", before_->disk,
                   choice_->in_force.value_or(""), before_->scheduler);
}

std::vector<std::string> put_back_left_schedulers() {
  std::vector<std::string> told;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(records_folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(record_prefix) || !name.ends_with(record_suffix)) continue;
    const auto record = lock_record(entry.path(), O_RDWR);
    if (!record) continue;  // a living run's
    if (const auto left = left_in(record->get(), entry.path())) {
      const auto done = left->put_back();
      if (!done) {
        told.push_back(done.error().with_hint(by_hand(*left)).message());
        continue;
      }
      told.push_back(formatted("put I/O scheduler {} back on {}, changed by a run that was killed",
                               left->scheduler, left->disk));
    }
    fs::remove(entry.path(), error);
  }
  return told;
}

}  // namespace ublkbench

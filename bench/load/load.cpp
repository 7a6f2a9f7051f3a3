// SPDX-License-Identifier: MIT
// The supervisor: starts the jobs, watches that they get on, ends windows of fixed time, and gives
// up on I/O that never completes.
#include "bench/load/load.hpp"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <latch>
#include <mutex>
#include <thread>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/load/buffers.hpp"
#include "bench/load/job.hpp"

namespace ublkbench::load {
namespace {

using std::chrono::nanoseconds;

constexpr std::uint64_t tick_ns = 100'000'000;  // how often stop, hang and deadlines are looked at
constexpr std::uint64_t stop_grace_ns = 1'000'000'000;  // to drain after a stop
constexpr std::uint64_t kill_grace_ns = 2'000'000'000;  // for threads to return after giving up

/// A signal that does nothing but end a blocked io_uring_enter() with EINTR. SIGURG is ignored by
/// default, so a stray one harms nobody.
class WakeSignal {
 public:
  WakeSignal() {
    struct sigaction action{};
    action.sa_handler = [](int) {};
    ::sigaction(SIGURG, &action, &previous_);
  }
  ~WakeSignal() { ::sigaction(SIGURG, &previous_, nullptr); }
  WakeSignal(const WakeSignal&) = delete;
  WakeSignal& operator=(const WakeSignal&) = delete;

 private:
  struct sigaction previous_{};
};

/// Blocks everything but SIGURG and faults, so that the program's own signals go to its own
/// threads.
void block_signals_of_job() {
  sigset_t blocked;
  ::sigfillset(&blocked);
  for (const int open : {SIGURG, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP})
    ::sigdelset(&blocked, open);
  ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
}

/// The jobs of a run and who is still running; shared with threads that may outlive the supervisor.
struct Crew {
  explicit Crew(std::shared_ptr<RunContext> context)
      : run(std::move(context)), all_set_up(run->options.jobs + 1) {
    for (unsigned i = 0; i < run->options.jobs; ++i) jobs.push_back(Job::create(run, i));
    ended.resize(jobs.size());
    set_up.resize(jobs.size());
  }

  std::shared_ptr<RunContext> run;
  std::vector<std::unique_ptr<Job>> jobs;
  std::latch all_set_up;
  std::vector<Result<>> set_up;  // written by its job before the latch

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> ended;

  [[nodiscard]] bool set_up_failed() const {
    return std::ranges::any_of(set_up, [](const Result<>& result) { return !result; });
  }
};

void job_thread(const std::shared_ptr<Crew>& crew, unsigned index) {
  block_signals_of_job();
  Job& job = *crew->jobs[index];
  crew->set_up[index] = job.set_up();
  crew->all_set_up.arrive_and_wait();
  if (!crew->set_up_failed()) job.run();
  const std::scoped_lock lock(crew->mutex);
  crew->ended[index] = true;
  crew->changed.notify_all();
}

class Supervisor {
 public:
  explicit Supervisor(std::shared_ptr<RunContext> run)
      : crew_(std::make_shared<Crew>(std::move(run))) {}

  Result<LoadReport> run();

 private:
  [[nodiscard]] const LoadOptions& options() const { return crew_->run->options; }
  [[nodiscard]] Window& window() { return crew_->run->window; }

  void start();
  bool wait(std::uint64_t until_ns);
  void look();
  void keep_time(std::uint64_t now);
  void look_for_hang(std::uint64_t now);
  void end_window();
  void wake_jobs();
  std::uint64_t next_deadline(std::uint64_t now) const;
  void join();
  LoadReport report();
  void add_thirds(LoadReport& report);
  void add_hang(LoadReport& report);

  std::shared_ptr<Crew> crew_;
  std::vector<std::thread> threads_;
  WakeSignal wake_signal_;

  std::uint64_t started_ns_ = 0;
  std::uint64_t opened_ns_ = 0;           // windows of fixed time
  std::uint64_t counted_thirds_[2] = {};  // I/Os counted at one and two thirds of the time
  std::uint64_t sampled_ns_[2] = {};
  std::vector<std::uint64_t> heartbeats_;   // by job, as last seen
  std::vector<std::uint64_t> progress_ns_;  // by job: when its heartbeat last rose
  std::vector<bool> joined_;
  std::uint64_t stopped_ns_ = 0;
  std::uint64_t abandoned_ns_ = 0;
  std::uint64_t quiet_ns_ = 0;
  bool stopped_early_ = false;
};

Result<LoadReport> Supervisor::run() {
  start();
  if (crew_->set_up_failed()) {
    for (auto& thread : threads_) thread.join();
    for (const auto& result : crew_->set_up)
      if (!result) return std::unexpected(result.error());
  }
  started_ns_ = now_ns();
  heartbeats_.assign(options().jobs, 0);
  progress_ns_.assign(options().jobs, started_ns_);
  while (!wait(next_deadline(now_ns()))) {
    look();
    if (abandoned_ns_ != 0 && now_ns() - abandoned_ns_ > kill_grace_ns) break;
  }
  join();
  LoadReport result = report();
  for (std::size_t i = 0; i < crew_->jobs.size(); ++i)
    if (joined_[i] && crew_->jobs[i]->failure()) return std::unexpected(*crew_->jobs[i]->failure());
  return result;
}

void Supervisor::start() {
  for (unsigned i = 0; i < options().jobs; ++i)
    threads_.emplace_back([crew = crew_, i] { job_thread(crew, i); });
  crew_->all_set_up.arrive_and_wait();
}

/// True when all jobs have ended, false when the time has come to look at them.
bool Supervisor::wait(std::uint64_t until_ns) {
  std::unique_lock lock(crew_->mutex);
  const std::uint64_t now = now_ns();
  const nanoseconds left(until_ns > now ? until_ns - now : 0);
  return crew_->changed.wait_for(
      lock, left, [&] { return std::ranges::all_of(crew_->ended, std::identity()); });
}

std::uint64_t Supervisor::next_deadline(std::uint64_t now) const {
  std::uint64_t next = now + std::min(tick_ns, options().hang_timeout_ns / 4 + 1);
  if (options().runtime_ns == 0) return next;
  if (opened_ns_ == 0) return std::min(next, started_ns_ + options().warmup_ns);
  const std::uint64_t third = options().runtime_ns / 3;
  for (const std::uint64_t after : {third, 2 * third, options().runtime_ns})
    if (opened_ns_ + after > now) return std::min(next, opened_ns_ + after);
  return next;
}

void Supervisor::look() {
  const std::uint64_t now = now_ns();
  if (options().stop != nullptr && options().stop->load(std::memory_order_relaxed) &&
      stopped_ns_ == 0) {
    stopped_ns_ = now;
    stopped_early_ = window().phase() != Phase::ending;
  }
  if (options().runtime_ns != 0) keep_time(now);
  if (window().waits_to_be_opened()) window().open_slowly();
  look_for_hang(now);
  // close() refuses while the window is just being opened, so this is tried until it is done.
  const bool over = stopped_ns_ != 0 || abandoned_ns_ != 0 || crew_->run->too_many_errors;
  if (over && window().phase() != Phase::ending) end_window();
  // Jobs may be asleep in the kernel, and a signal that comes just before they sleep is lost:
  // repeat.
  if (window().phase() == Phase::ending) wake_jobs();
}

void Supervisor::keep_time(std::uint64_t now) {
  const std::uint64_t third = options().runtime_ns / 3;
  if (opened_ns_ == 0) {
    if (now - started_ns_ < options().warmup_ns) return;
    window().open_slowly();
    opened_ns_ = window().opened() ? window().begin_ns() : 0;
    return;
  }
  for (unsigned i = 0; i < 2; ++i) {
    if (sampled_ns_[i] != 0 || now - opened_ns_ < third * (i + 1)) continue;
    sampled_ns_[i] = now;
    counted_thirds_[i] = window().counted();
  }
  if (now - opened_ns_ >= options().runtime_ns) end_window();
}

/// A job that stands still while others run is stuck as well: it may never get warm.
void Supervisor::look_for_hang(std::uint64_t now) {
  std::uint64_t longest = 0;
  const std::scoped_lock lock(crew_->mutex);
  for (std::size_t i = 0; i < crew_->jobs.size(); ++i) {
    const std::uint64_t beat = crew_->jobs[i]->heartbeat();
    if (crew_->ended[i] || beat != std::exchange(heartbeats_[i], beat)) progress_ns_[i] = now;
    longest = std::max(longest, now - progress_ns_[i]);
  }
  const std::uint64_t patience = stopped_ns_ != 0
                                     ? std::min(stop_grace_ns, options().hang_timeout_ns)
                                     : options().hang_timeout_ns;
  if (abandoned_ns_ != 0 || longest < patience) return;
  abandoned_ns_ = now;
  quiet_ns_ = longest;
  window().abandon();
}

void Supervisor::end_window() {
  if (window().close()) window().notify_end();
  wake_jobs();
}

void Supervisor::wake_jobs() {
  const std::scoped_lock lock(crew_->mutex);
  for (std::size_t i = 0; i < threads_.size(); ++i)
    if (!crew_->ended[i]) ::pthread_kill(threads_[i].native_handle(), SIGURG);
}

void Supervisor::join() {
  {
    const std::scoped_lock lock(crew_->mutex);
    joined_ = crew_->ended;
  }
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    if (joined_[i])
      threads_[i].join();
    else
      threads_[i].detach();  // the thread owns a share of the crew
  }
}

LoadReport Supervisor::report() {
  LoadReport report;
  report.remarks = remarks(options(), crew_->run->device.facts);
  if (window().opened()) {
    report.window_begin_ns = window().begin_ns();
    report.window_ns = window().end_ns() - window().begin_ns();
  }
  Counts counts;
  for (std::size_t i = 0; i < crew_->jobs.size(); ++i)
    if (joined_[i]) crew_->jobs[i]->add_to(report, counts);
  add_counts(counts, options().record_latency, report);
  add_thirds(report);
  add_hang(report);
  if (report.hang)
    report.ending = Ending::hang;
  else if (crew_->run->too_many_errors)
    report.ending = Ending::errors;
  else if (stopped_early_)
    report.ending = Ending::stopped;
  return report;
}

void Supervisor::add_thirds(LoadReport& report) {
  if (report.ending != Ending::completed || report.measured_ios == 0) return;
  if (options().runtime_ns == 0) {
    if (window().third_ns(1) == 0 || window().third_ns(2) == 0) return;
    report.steady.first_ns = window().third_ns(1) - window().begin_ns();
    report.steady.last_ns = window().end_ns() - window().third_ns(2);
    return;
  }
  if (sampled_ns_[0] == 0 || sampled_ns_[1] == 0) return;
  const auto scaled = [&](std::uint64_t ns, std::uint64_t ios) {
    const double third = static_cast<double>(report.measured_ios) / 3;
    return ios == 0 ? 0
                    : static_cast<std::uint64_t>(static_cast<double>(ns) * third /
                                                 static_cast<double>(ios));
  };
  report.steady.first_ns = scaled(sampled_ns_[0] - window().begin_ns(), counted_thirds_[0]);
  report.steady.last_ns =
      scaled(window().end_ns() - sampled_ns_[1], window().counted() - counted_thirds_[1]);
}

void Supervisor::add_hang(LoadReport& report) {
  HangReport hang{.quiet_ns = quiet_ns_, .outstanding = {}, .unreachable_jobs = 0};
  for (std::size_t i = 0; i < crew_->jobs.size(); ++i) {
    if (!joined_[i]) {
      ++hang.unreachable_jobs;
      continue;
    }
    auto stuck = crew_->jobs[i]->outstanding(quiet_ns_);
    if (!stuck.empty()) crew_->jobs[i]->leak_kernel_memory();
    hang.outstanding.insert(hang.outstanding.end(), stuck.begin(), stuck.end());
  }
  // Everything may have come back after all, while it was being given up.
  // What a user who wants to go did not wait for is no hang.
  const bool impatient = stopped_ns_ != 0 && quiet_ns_ < options().hang_timeout_ns;
  if (!impatient && (!hang.outstanding.empty() || hang.unreachable_jobs != 0))
    report.hang = std::move(hang);
}

}  // namespace

Result<LoadReport> run_load(const LoadOptions& options, WindowObserver observer) {
  if (auto valid = validate(options); !valid) return std::unexpected(valid.error());
  if (auto safe = check_buffer_file(options.buffer_file, options.destructive); !safe)
    return std::unexpected(safe.error());
  const Access access = writes(options.pattern) ? Access::write : Access::read;
  auto device = open_device(options.device, access, options.direct);
  if (!device) return std::unexpected(device.error());
  if (auto valid = validate(options, device->facts); !valid) return std::unexpected(valid.error());
  return Supervisor(std::make_shared<RunContext>(options, std::move(*device), std::move(observer)))
      .run();
}

}  // namespace ublkbench::load

// SPDX-License-Identifier: MIT
#include "bench/load/job.hpp"

#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <numeric>

#include "bench/base/format.hpp"
#include "bench/load/job_loop.hpp"

namespace ublkbench::load {
namespace {

template <Direction direction, class Offsets, Pace pace>
std::unique_ptr<Job> make(std::shared_ptr<RunContext> run, unsigned index) {
  if (run->options.record_latency)
    return std::make_unique<JobLoop<direction, Offsets, pace, Latency::on>>(std::move(run), index);
  return std::make_unique<JobLoop<direction, Offsets, pace, Latency::off>>(std::move(run), index);
}

template <Direction direction, class Offsets>
std::unique_ptr<Job> make(std::shared_ptr<RunContext> run, unsigned index) {
  if (run->options.rate_iops != 0)
    return make<direction, Offsets, Pace::open>(std::move(run), index);
  return make<direction, Offsets, Pace::closed>(std::move(run), index);
}

template <Direction direction>
std::unique_ptr<Job> make(std::shared_ptr<RunContext> run, unsigned index) {
  if (is_random(run->options.pattern)) return make<direction, RandomOffsets>(std::move(run), index);
  return make<direction, SequentialOffsets>(std::move(run), index);
}

Histogram from_counts(const std::vector<std::uint64_t>& counts) {
  Histogram histogram;
  for (std::size_t value = 0; value < counts.size(); ++value)
    histogram.record(value, counts[value]);
  return histogram;
}

}  // namespace

std::unique_ptr<Job> Job::create(std::shared_ptr<RunContext> run, unsigned index) {
  if (is_mixed(run->options.pattern)) return make<Direction::mixed>(std::move(run), index);
  if (writes(run->options.pattern)) return make<Direction::write>(std::move(run), index);
  return make<Direction::read>(std::move(run), index);
}

Job::Job(std::shared_ptr<RunContext> run, unsigned index)
    : run_(std::move(run)),
      window_(run_->window),
      cursor_(window_.cursor()),
      index_(index),
      random_(options().seed * 1024 + index),  // jobs_max streams per seed
      start_ns_(options().depth),
      free_(options().depth),
      free_count_(options().depth),
      submit_counts_(options().depth + 1),
      complete_counts_(options().depth + 1) {
  std::iota(free_.rbegin(), free_.rend(), 0U);  // slot 0 is taken first
}

/// Random patterns share the range; sequential jobs have a stretch each.
Range Job::job_range() const {
  Range range = range_of(options(), run_->device.facts);
  if (is_random(options().pattern)) return range;
  const std::uint64_t share = range.blocks / options().jobs;
  range.begin += index_ * share * options().block_bytes;
  range.blocks = share;
  return range;
}

Result<> Job::set_up() {
  if (auto pinned = pin_to_cpu(); !pinned) return pinned;
  // The default slack of 50 us would shift every I/O of a fixed rate.
  if (options().rate_iops != 0) ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  auto buffers = Buffers::create(options().depth, options().block_bytes, options().buffer_file,
                                 std::uint64_t{index_} * options().depth);
  if (!buffers) return std::unexpected(buffers.error());
  buffers_.emplace(std::move(*buffers));
  if (writes(options().pattern)) buffers_->fill(options().seed + index_);
  if (auto ring = create_ring(); !ring) return ring;
  fill_templates();
  return {};
}

Result<> Job::pin_to_cpu() const {
  if (options().job_cpus.empty()) return {};
  const int cpu = options().job_cpus[index_ % options().job_cpus.size()];
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(static_cast<unsigned>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0)
    return failed("pin a job to CPU", formatted("{}", cpu), errno, "is this CPU online?");
  return {};
}

Result<> Job::create_ring() {
  auto ring = Ring::create({.sq_entries = options().depth, .iopoll = options().hipri});
  if (!ring) return std::unexpected(ring.error());
  ring_.emplace(std::move(*ring));
  if (options().registered_file) {
    const int fd = run_->device.fd.get();
    if (auto files = ring_->register_files(&fd, 1); !files) return files;
  }
  if (options().fixed_buffers) {
    const std::vector<iovec> vectors = buffers_->iovecs();
    return ring_->register_buffers(vectors.data(), options().depth);
  }
  return {};
}

void Job::fill_templates() {
  templates_.resize(options().depth);
  const bool fixed = options().fixed_buffers;
  for (unsigned slot = 0; slot < options().depth; ++slot) {
    io_uring_sqe& sqe = templates_[slot];
    if (writes(options().pattern))
      sqe.opcode = fixed ? IORING_OP_WRITE_FIXED : IORING_OP_WRITE;
    else
      sqe.opcode = fixed ? IORING_OP_READ_FIXED : IORING_OP_READ;
    sqe.flags = options().registered_file ? IOSQE_FIXED_FILE : 0;
    sqe.fd = options().registered_file ? 0 : run_->device.fd.get();
    sqe.addr = reinterpret_cast<std::uintptr_t>(buffers_->slot(slot).data());
    sqe.len = static_cast<std::uint32_t>(options().block_bytes);
    sqe.buf_index = static_cast<std::uint16_t>(fixed ? slot : 0);
    sqe.user_data = slot;
  }
}

void Job::run() {
  ThreadMeter meter;
  prepare();
  warm_up();
  warmup_completions_ = completed_;
  const ThreadUsage before = meter.read();
  measured_cycles();
  usage_ = meter.read() - before;
  if (cursor_.closed_window) window_.notify_end();
  drain();
}

void Job::warm_up() {
  // With a window of fixed time the supervisor opens it.
  const bool counts = options().ios != 0;
  const std::uint64_t share =
      (options().effective_warmup_ios() + options().jobs - 1) / options().jobs;
  bool warm = !counts;
  while (window_.phase() < Phase::measuring) {
    if (!warm && completed_ >= share) {
      warm = true;
      window_.job_is_warm();
      continue;
    }
    cycle();
  }
}

void Job::drain() {
  while (in_flight() != 0 && !window_.abandoned() && !failure_) drain_cycle();
}

void Job::enter_failed(int ret) {
  // EINTR: the supervisor wants this thread to look at the phase. EAGAIN, EBUSY: memory or CQ
  // short; the completions that are reaped next make room. ETIME: nothing completed until the next
  // I/O is due.
  if (ret == -EINTR || ret == -EAGAIN || ret == -EBUSY || ret == -ETIME) return;
  failure_ = Error{.operation = "io_uring_enter",
                   .object = formatted("of job {}", index_),
                   .errnum = -ret,
                   .hint = {},
                   .exit = ExitCode::io};
  if (window_.close()) window_.notify_end();
}

bool Job::odd_completion(std::uint32_t slot, std::int32_t result, bool counted) {
  const io_uring_sqe& sqe = templates_[slot];
  const bool write = sqe.opcode == IORING_OP_WRITE_FIXED || sqe.opcode == IORING_OP_WRITE;
  if (result >= 0) {
    ++short_ios_;
    if (counted) missing_bytes_ += options().block_bytes - static_cast<std::uint64_t>(result);
    return true;
  }
  ++errors_;
  if (counted) {
    ++measured_errors_;
    if (write) ++measured_error_writes_;
  }
  if (!first_error_)
    first_error_ =
        IoError{{.job = index_, .offset = sqe.off, .operation = operation_of(write)}, -result};
  if (run_->errors.fetch_add(1) + 1 == options().max_errors) {
    run_->too_many_errors = true;
    cursor_.closed_window |= window_.close();
  }
  return false;
}

void Job::add_to(LoadReport& report, Counts& counts) const {
  const std::uint64_t done = claimed_ - measured_errors_;
  std::uint64_t written = 0;
  if (is_mixed(options().pattern))
    written = claimed_writes_;
  else if (writes(options().pattern))
    written = done;
  report.measured_ios += done;
  report.writes += written;
  report.reads += done - written;
  report.bytes += done * options().block_bytes - missing_bytes_;
  report.warmup_ios += warmup_completions_;
  report.errors += errors_;
  report.short_ios += short_ios_;
  if (!report.first_error) report.first_error = first_error_;
  counts.read_latency_ns.merge(read_latency_ns_);
  counts.write_latency_ns.merge(write_latency_ns_);
  counts.submit_batch.merge(from_counts(submit_counts_));
  counts.complete_batch.merge(from_counts(complete_counts_));
  report.enters += enters_;
  if (report.usage_per_job.empty())
    report.usage = usage_;
  else
    report.usage += usage_;
  report.usage_per_job.push_back(usage_);
}

std::vector<StuckIo> Job::outstanding(std::uint64_t quiet_ns) const {
  std::vector<bool> is_free(options().depth);
  for (unsigned i = 0; i < free_count_; ++i) is_free[free_[i]] = true;
  const std::uint64_t now = now_ns();
  std::vector<StuckIo> stuck;
  for (unsigned slot = 0; slot < options().depth && !templates_.empty(); ++slot) {
    if (is_free[slot]) continue;
    const io_uring_sqe& sqe = templates_[slot];
    const bool write = sqe.opcode == IORING_OP_WRITE_FIXED || sqe.opcode == IORING_OP_WRITE;
    stuck.push_back({{.job = index_, .offset = sqe.off, .operation = operation_of(write)},
                     start_ns_[slot] != 0 ? now - start_ns_[slot] : quiet_ns});
  }
  return stuck;
}

void Job::leak_kernel_memory() { keep_for_ever(std::move(*ring_), std::move(*buffers_)); }

}  // namespace ublkbench::load

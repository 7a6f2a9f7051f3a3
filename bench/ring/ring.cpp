// SPDX-License-Identifier: MIT
#include "bench/ring/ring.hpp"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

// Linux 6.15; liburing 2.9's header is older.
constexpr unsigned feature_no_iowait = 1U << 17;
constexpr unsigned enter_no_iowait = 1U << 7;

constexpr const char* memlock_hint =
    "io_uring could not account its memory: raise the locked-memory limit (ulimit -l unlimited)";

std::string_view hint_for(int errnum) {
  if (errnum == ENOMEM) return memlock_hint;
  if (errnum == EPERM)
    return "io_uring is disabled here: see /proc/sys/kernel/io_uring_disabled and seccomp";
  if (errnum == ENOSYS) return "this kernel has no io_uring";
  return {};
}

unsigned setup_flags(const RingOptions& options) {
  // NO_SQARRAY (6.6) drops the SQ index array; SUBMIT_ALL goes on after an SQE that fails to
  // prepare, so that one bad request does not strand those behind it.
  unsigned flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_NO_SQARRAY;
  if (options.defer_task_work) flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  if (options.cq_entries != 0) flags |= IORING_SETUP_CQSIZE;
  if (options.iopoll) flags |= IORING_SETUP_IOPOLL;
  if (options.sqe128) flags |= IORING_SETUP_SQE128;
  if (options.say_task_work) flags |= IORING_SETUP_TASKRUN_FLAG;
  return flags;
}

}  // namespace

Result<Ring> Ring::create(const RingOptions& options) {
  Ring ring;
  io_uring_params params{};
  params.flags = setup_flags(options);
  params.cq_entries = options.cq_entries;
  int ret = io_uring_queue_init_params(options.sq_entries, &ring.ring_, &params);
  if (ret == -EINVAL) {  // before Linux 6.6
    params.flags = setup_flags(options) & ~static_cast<unsigned>(IORING_SETUP_NO_SQARRAY);
    params.cq_entries = options.cq_entries;
    ret = io_uring_queue_init_params(options.sq_entries, &ring.ring_, &params);
  }
  if (ret < 0)
    return failed("io_uring_setup", formatted("of {} entries", options.sq_entries), -ret,
                  hint_for(-ret));
  ring.live_ = true;
  ring.sqe_shift_ = options.sqe128 ? 1 : 0;
  ring.has_min_wait_ = (params.features & IORING_FEAT_MIN_TIMEOUT) != 0;
  // A registered ring fd saves a file lookup per io_uring_enter(); without it all still works.
  if (io_uring_register_ring_fd(&ring.ring_) == 1) ring.enter_flags_ = IORING_ENTER_REGISTERED_RING;
  ring.wait_flags_ = ring.enter_flags_ | IORING_ENTER_GETEVENTS;
  // Waiting for block requests that may never come is not I/O wait: it would show an idle server as
  // a busy disk, and the accounting costs instructions on each sleep.
  if ((params.features & feature_no_iowait) != 0) ring.wait_flags_ |= enter_no_iowait;
  return ring;
}

Ring::Ring(Ring&& other) noexcept
    : ring_(other.ring_),
      enter_flags_(other.enter_flags_),
      wait_flags_(other.wait_flags_),
      has_min_wait_(other.has_min_wait_),
      sqe_shift_(other.sqe_shift_),
      counters_(other.counters_),
      has_files_(other.has_files_),
      live_(std::exchange(other.live_, false)) {}

Ring& Ring::operator=(Ring&& other) noexcept {
  if (this != &other) {
    close();
    ring_ = other.ring_;
    enter_flags_ = other.enter_flags_;
    wait_flags_ = other.wait_flags_;
    has_min_wait_ = other.has_min_wait_;
    sqe_shift_ = other.sqe_shift_;
    counters_ = other.counters_;
    has_files_ = other.has_files_;
    live_ = std::exchange(other.live_, false);
  }
  return *this;
}

Ring::~Ring() { close(); }

void Ring::close() {
  if (!std::exchange(live_, false)) return;
  // The kernel tears a ring down later, from a worker (io_ring_exit_work), and until then
  // registered files stay open: an exclusively opened device would still be busy for whoever opens
  // it next.
  if (has_files_) (void)io_uring_unregister_files(&ring_);
  io_uring_queue_exit(&ring_);
}

io_uring_sqe* Ring::sqe_after_submit() {
  // io_uring_enter() consumes the whole SQ (SUBMIT_ALL), except when memory or the CQ is short:
  // then completions have to be reaped first, which the caller does in its loop.
  for (int tries = 0; tries < 1000; ++tries) {
    const int ret = submit(0);
    if (io_uring_sqe* entry = io_uring_get_sqe(&ring_)) return entry;
    if (ret < 0 && ret != -EAGAIN && ret != -EBUSY && ret != -EINTR) break;
  }
  std::fprintf(stderr, "io_uring: the submission queue stays full; giving up\n");
  std::abort();
}

int Ring::submit_batch_wait(unsigned at_least, unsigned count, std::uint32_t wait_us) {
  if (!has_min_wait_ || count <= at_least) return submit(at_least);
  io_uring_getevents_arg argument{};
  argument.min_wait_usec = wait_us;
  return enter(count, wait_flags_ | IORING_ENTER_EXT_ARG, &argument, sizeof(argument));
}

int Ring::submit_timeout(unsigned wait_for, std::uint64_t timeout_ns) {
  __kernel_timespec timeout{.tv_sec = static_cast<long long>(timeout_ns / 1'000'000'000),
                            .tv_nsec = static_cast<long long>(timeout_ns % 1'000'000'000)};
  io_uring_cqe* cqe = nullptr;
  counters_.submitted += io_uring_sq_ready(&ring_);
  ++counters_.enters;
  const int ret = io_uring_submit_and_wait_timeout(&ring_, &cqe, wait_for, &timeout, nullptr);
  return ret < 0 ? ret : 0;
}

Result<> Ring::register_files(const int* fds, unsigned count) {
  const int ret = io_uring_register_files(&ring_, fds, count);
  if (ret < 0) return failed("io_uring_register files", formatted("({})", count), -ret);
  has_files_ = true;
  return {};
}

void Ring::forget_file(unsigned index) {
  const int none = -1;
  (void)io_uring_register_files_update(&ring_, index, &none, 1);
}

Result<> Ring::register_sparse_buffers(unsigned count) {
  const int ret = io_uring_register_buffers_sparse(&ring_, count);
  if (ret < 0)
    return failed("io_uring_register sparse buffer table", formatted("of {} slots", count), -ret,
                  ret == -ENOMEM ? memlock_hint : "");
  return {};
}

Result<> Ring::register_buffers(const iovec* buffers, unsigned count) {
  const int ret = io_uring_register_buffers(&ring_, buffers, count);
  if (ret < 0)
    return failed("io_uring_register buffers", formatted("({})", count), -ret,
                  ret == -ENOMEM ? memlock_hint : "");
  return {};
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/load/verify.hpp"

#include <algorithm>
#include <deque>
#include <numeric>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/load/buffers.hpp"
#include "bench/load/device.hpp"
#include "bench/load/offsets.hpp"
#include "bench/load/verify_plan.hpp"
#include "bench/ring/ring.hpp"

namespace ublkbench::load {
namespace {

constexpr std::uint64_t tick_ns = 100'000'000;  // how often stop and hang are looked at
constexpr std::uint64_t stop_grace_ns = 1'000'000'000;

enum class Op { write, read, flush };

struct Io {
  Op op = Op::read;
  std::uint32_t first = 0;  // granules
  std::uint32_t count = 0;
  std::uint64_t write = 0;  // of the model
  bool read_back = false;   // read as soon as it is written
};

class Verifier {
 public:
  Verifier(const VerifyOptions& options, Device device, const VerifyPlan& plan)
      : options_(options),
        device_(std::move(device)),
        plan_(plan),
        model_(plan.geometry),
        random_(options.seed),
        busy_(plan.geometry.granules),
        slots_(options.depth) {}

  Result<> set_up();
  Result<VerifyReport> run();

 private:
  Result<> fill();
  Result<> overwrite();
  Result<> read_back();

  [[nodiscard]] std::uint32_t granules() const { return plan_.geometry.granules; }
  [[nodiscard]] std::uint64_t bytes_of(const Io& io) const {
    return std::uint64_t{io.count} * plan_.geometry.granule_bytes;
  }
  [[nodiscard]] bool ended() const { return report_.ending != Ending::completed; }
  std::uint32_t random_size();
  std::optional<Io> random_write();
  bool is_free(std::uint32_t first, std::uint32_t count) const;
  void set_busy(const Io& io, bool busy);

  /// Runs I/Os from `next` until it has none, and all that were started.
  template <class Next>
  Result<> pump(Next&& next);
  void start(Io io);
  void prepare(io_uring_sqe* sqe, const Io& io, std::uint32_t slot);
  Result<> wait();
  void complete(std::uint32_t slot, std::int32_t result);
  void complete_write(const Io& io);
  void look();
  void give_up(std::uint64_t quiet_ns);
  VerifyReport finish(std::uint64_t begin_ns);

  const VerifyOptions& options_;
  Device device_;
  VerifyPlan plan_;
  VerifyModel model_;
  Random random_;
  std::optional<Ring> ring_;
  std::optional<Buffers> buffers_;
  std::vector<bool> busy_;  // granules with an I/O in flight
  std::vector<Io> slots_;
  std::vector<std::uint32_t> free_;
  std::deque<Io> follow_ups_;  // reads of what was just written
  std::uint64_t progress_ns_ = 0;
  std::uint64_t stopped_ns_ = 0;
  bool gave_up_ = false;  // ring and buffers are the kernel's
  VerifyReport report_;
};

Result<> Verifier::set_up() {
  auto buffers =
      Buffers::create(options_.depth, std::uint64_t{plan_.largest()} * plan_.geometry.granule_bytes,
                      options_.buffer_file);
  if (!buffers) return std::unexpected(buffers.error());
  buffers_.emplace(std::move(*buffers));
  auto ring = Ring::create({.sq_entries = options_.depth});
  if (!ring) return std::unexpected(ring.error());
  ring_.emplace(std::move(*ring));
  if (options_.registered_file) {
    const int fd = device_.fd.get();
    if (auto files = ring_->register_files(&fd, 1); !files) return files;
  }
  if (options_.fixed_buffers) {
    const auto vectors = buffers_->iovecs();
    if (auto done = ring_->register_buffers(vectors.data(), options_.depth); !done) return done;
  }
  free_.resize(options_.depth);
  std::iota(free_.rbegin(), free_.rend(), 0U);
  return {};
}

Result<VerifyReport> Verifier::run() {
  const std::uint64_t begin_ns = now_ns();
  progress_ns_ = begin_ns;
  for (const auto phase : {&Verifier::fill, &Verifier::overwrite, &Verifier::read_back}) {
    if (phase == &Verifier::read_back && options_.before_read_back && !ended())
      options_.before_read_back();
    if (auto done = (this->*phase)(); !done) return std::unexpected(done.error());
  }
  return finish(begin_ns);
}

Result<> Verifier::fill() {
  std::uint32_t at = 0;
  return pump([&]() -> std::optional<Io> {
    if (at == granules()) return {};
    const std::uint32_t count = std::min(plan_.largest(), granules() - at);
    return Io{.op = Op::write, .first = std::exchange(at, at + count), .count = count};
  });
}

Result<> Verifier::overwrite() {
  std::uint64_t left = options_.random_writes;
  auto written = pump([&]() -> std::optional<Io> {
    if (left == 0) return {};
    auto io = random_write();
    if (io) --left;
    return io;
  });
  if (!written || !options_.flush) return written;
  bool flushed = false;
  return pump([&]() -> std::optional<Io> {
    if (std::exchange(flushed, true)) return {};
    return Io{.op = Op::flush};
  });
}

/// Cuts the range into pieces of random size and reads them in random order.
Result<> Verifier::read_back() {
  std::vector<Io> pieces;
  for (std::uint32_t at = 0; at < granules();) {
    const std::uint32_t count = std::min(random_size(), granules() - at);
    pieces.push_back({.op = Op::read, .first = at, .count = count});
    at += count;
  }
  for (std::size_t left = pieces.size(); left > 1; --left)
    std::swap(pieces[left - 1], pieces[random_.below(left)]);
  return pump([&]() -> std::optional<Io> {
    if (pieces.empty()) return {};
    const Io io = pieces.back();
    pieces.pop_back();
    return io;
  });
}

/// Small ones more often than large ones: all sizes are met, and the bytes stay few.
std::uint32_t Verifier::random_size() {
  const std::size_t count = plan_.sizes.size();
  return plan_.sizes[std::min(random_.below(count), random_.below(count))];
}

/// A place that no I/O in flight touches, aligned to granules only. When the range is crowded the
/// search may fail; one block is then tried, and the next completion makes room.
std::optional<Io> Verifier::random_write() {
  for (int tries = 0; tries < 16; ++tries) {
    const std::uint32_t count = tries < 8 ? random_size() : 1;
    const auto first = static_cast<std::uint32_t>(random_.below(granules() - count + 1));
    if (is_free(first, count))
      return Io{.op = Op::write,
                .first = first,
                .count = count,
                .read_back = random_.below(100) < options_.read_back_percent};
  }
  return {};
}

bool Verifier::is_free(std::uint32_t first, std::uint32_t count) const {
  const auto begin = busy_.begin() + first;
  return std::find(begin, begin + count, true) == begin + count;
}

void Verifier::set_busy(const Io& io, bool busy) {
  std::fill_n(busy_.begin() + io.first, io.count, busy);
}

template <class Next>
Result<> Verifier::pump(Next&& next) {
  while (!gave_up_) {
    bool exhausted = false;
    while (!free_.empty() && !exhausted && !ended()) {
      if (!follow_ups_.empty()) {
        start(follow_ups_.front());
        follow_ups_.pop_front();
      } else if (auto io = next()) {
        start(*io);
      } else {
        exhausted = true;
      }
    }
    if (free_.size() == slots_.size()) {
      if (follow_ups_.empty() || ended()) return {};
      continue;
    }
    if (auto waited = wait(); !waited) return waited;
  }
  return {};
}

void Verifier::start(Io io) {
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  set_busy(io, true);
  if (io.op == Op::write) {
    io.write = model_.begin_write(io.first, io.count);
    model_.fill(io.write, buffers_->slot(slot).first(bytes_of(io)));
  } else if (io.op == Op::read) {
    std::ranges::fill(buffers_->slot(slot).first(bytes_of(io)), untouched);
  }
  slots_[slot] = io;
  prepare(ring_->sqe(), io, slot);
}

void Verifier::prepare(io_uring_sqe* sqe, const Io& io, std::uint32_t slot) {
  const int fd = options_.registered_file ? 0 : device_.fd.get();
  if (io.op == Op::flush) {
    io_uring_prep_fsync(sqe, fd, 0);
  } else {
    const bool write = io.op == Op::write;
    int opcode = write ? IORING_OP_WRITE : IORING_OP_READ;
    if (options_.fixed_buffers) opcode = write ? IORING_OP_WRITE_FIXED : IORING_OP_READ_FIXED;
    io_uring_prep_rw(opcode, sqe, fd, buffers_->slot(slot).data(),
                     static_cast<unsigned>(bytes_of(io)), model_.offset_of(io.first));
    sqe->buf_index = static_cast<std::uint16_t>(options_.fixed_buffers ? slot : 0);
  }
  if (options_.registered_file) sqe->flags |= IOSQE_FIXED_FILE;
  io_uring_sqe_set_data64(sqe, slot);
}

Result<> Verifier::wait() {
  const int ret = ring_->submit_timeout(1, tick_ns);
  if (ret < 0 && ret != -ETIME && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
    return failed("io_uring_enter", "", -ret);
  const unsigned reaped = ring_->reap([this](const io_uring_cqe& cqe) {
    complete(static_cast<std::uint32_t>(cqe.user_data), cqe.res);
  });
  if (reaped != 0) progress_ns_ = now_ns();
  look();
  return {};
}

void Verifier::complete(std::uint32_t slot, std::int32_t result) {
  const Io io = slots_[slot];
  free_.push_back(slot);
  set_busy(io, false);
  const auto wanted = static_cast<std::int32_t>(io.op == Op::flush ? 0 : bytes_of(io));
  if (result != wanted) {
    ++report_.errors;
    if (!report_.first_error)
      report_.first_error = IoError{{.job = 0,
                                     .offset = model_.offset_of(io.first),
                                     .operation = operation_of(io.op != Op::read)},
                                    result < 0 ? -result : 0};
    if (io.op == Op::write) model_.fail(io.write);
    return;
  }
  if (io.op == Op::write) return complete_write(io);
  if (io.op == Op::flush) return;
  ++report_.reads;
  report_.read_bytes += bytes_of(io);
  if (options_.stores_data) model_.check(io.first, buffers_->slot(slot).first(bytes_of(io)));
}

void Verifier::complete_write(const Io& io) {
  ++report_.writes;
  report_.written_bytes += bytes_of(io);
  model_.acknowledge(io.write);
  if (!io.read_back) return;
  set_busy(io, true);  // until it is read, nobody may overwrite it
  follow_ups_.push_back({.op = Op::read, .first = io.first, .count = io.count});
}

void Verifier::look() {
  const std::uint64_t now = now_ns();
  if (stopped_ns_ == 0 && options_.stop != nullptr && options_.stop->load()) {
    stopped_ns_ = now;
    report_.ending = Ending::stopped;
  }
  if (report_.errors != 0 && !ended()) report_.ending = Ending::errors;
  const std::uint64_t patience = stopped_ns_ != 0
                                     ? std::min(stop_grace_ns, options_.hang_timeout_ns)
                                     : options_.hang_timeout_ns;
  if (free_.size() != slots_.size() && now - progress_ns_ >= patience) give_up(now - progress_ns_);
}

/// The kernel may still write to the buffers: ring and buffers live on until the process ends.
void Verifier::give_up(std::uint64_t quiet_ns) {
  std::vector<bool> is_idle(slots_.size());
  for (const std::uint32_t slot : free_) is_idle[slot] = true;
  HangReport hang{.quiet_ns = quiet_ns, .outstanding = {}, .unreachable_jobs = 0};
  for (std::size_t slot = 0; slot < slots_.size(); ++slot)
    if (!is_idle[slot])
      hang.outstanding.push_back({{.job = 0,
                                   .offset = model_.offset_of(slots_[slot].first),
                                   .operation = operation_of(slots_[slot].op != Op::read)},
                                  quiet_ns});
  // What a user who wants to go did not wait for is no hang.
  if (stopped_ns_ == 0 || quiet_ns >= options_.hang_timeout_ns) {
    report_.hang = std::move(hang);
    report_.ending = Ending::hang;
  }
  gave_up_ = true;
  keep_for_ever(std::move(*ring_), std::move(*buffers_));
}

VerifyReport Verifier::finish(std::uint64_t begin_ns) {
  model_.finish();
  report_.range_bytes = std::uint64_t{granules()} * plan_.geometry.granule_bytes;
  report_.block_bytes = plan_.geometry.granule_bytes;
  report_.checked_blocks = model_.checked();
  report_.duration_ns = now_ns() - begin_ns;
  for (std::size_t fault = 0; fault < fault_count; ++fault)
    report_.faults[fault] = model_.count(static_cast<Fault>(fault));
  report_.failures = model_.failures();
  return std::move(report_);
}

}  // namespace

Result<VerifyReport> verify_device(const VerifyOptions& options) {
  if (auto valid = validate(options); !valid) return std::unexpected(valid.error());
  auto device = open_device(options.device, Access::write, options.direct);
  if (!device) return std::unexpected(device.error());
  const auto plan = make_verify_plan(options, device->facts);
  if (!plan) return std::unexpected(plan.error());
  Verifier verifier(options, std::move(*device), *plan);
  if (auto ready = verifier.set_up(); !ready) return std::unexpected(ready.error());
  return verifier.run();
}

}  // namespace ublkbench::load

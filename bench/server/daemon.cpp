// SPDX-License-Identifier: MIT
#include "bench/server/daemon.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

#include "bench/server/batch_delivery.hpp"
#include "bench/server/data_path.hpp"
#include "bench/server/per_io_delivery.hpp"

namespace ublkbench {
namespace {

// IORING_MAX_ENTRIES and IORING_MAX_REG_BUFFERS (io_uring/io_uring.h, io_uring/rsrc.c).
constexpr unsigned max_sq_entries = 4096;
constexpr unsigned max_cq_entries = 65536;
constexpr std::size_t max_registered_buffers = 1 << 14;

std::vector<IoSlot> make_slots(std::vector<QueueView>& queues) {
  std::vector<IoSlot> slots;
  for (std::size_t index = 0; index < queues.size(); ++index) {
    QueueView& queue = queues[index];
    queue.first_slot = static_cast<std::uint32_t>(slots.size());
    for (unsigned tag = 0; tag < queue.depth; ++tag)
      slots.push_back({.descriptor = queue.descriptors + tag,
                       .buffer = queue.buffers + tag * queue.buffer_bytes,
                       .chain = {},
                       .queue_id = queue.id,
                       .tag = static_cast<std::uint16_t>(tag),
                       .queue = static_cast<std::uint16_t>(index)});
  }
  return slots;
}

/// What is committed for a request that was not served in full. The driver ignores how much of a
/// write was served and never resumes a zero-copy read, so a short one would be success with stale
/// data (ublk_drv.c, __ublk_complete_rq).
template <DataPath Path>
std::int32_t partial_result(const Request& request, std::int32_t result) {
  if (result < 0 || !carries_data(request.op)) return result;
  return Path::resumes_short_reads && request.op == Op::read ? result : -EIO;
}

template <template <DataPath> class DeliveryOf, DataPath Path>
class DaemonOf final : public Daemon {
 public:
  DaemonOf(Ring ring, DaemonSetup setup, Path path)
      : ring_(std::move(ring)),
        setup_(std::move(setup)),
        slots_(make_slots(setup_.queues)),
        path_(path),
        target_(*setup_.target),
        counters_(*setup_.counters),
        delivery_(ring_, setup_.queues, slots_, path_, counters_) {}

  Result<> arm() override {
    if (auto armed = delivery_.arm(); !armed) return armed;
    if (const int ret = ring_.submit(0); ret < 0) return failed("io_uring_enter", "to fetch", -ret);
    return {};
  }

  Result<> serve() override {
    while (delivery_.live() && !failure_) {
      delivery_.flush();
      const int ret = ring_.submit(delivery_.wait_for());
      if (ret < 0 && ret != -EINTR && ret != -EAGAIN && ret != -EBUSY)
        return failed("io_uring_enter", "of a daemon", -ret);
      ring_.reap([this](const io_uring_cqe& cqe) { completion(cqe); });
      delivery_.reaped();
      counters_.enters.add(ring_.counters().enters - counters_.enters.get());
    }
    if (failure_) return std::unexpected(*failure_);
    return {};
  }

 private:
  enum Phase : std::uint8_t { acquiring = 0, serving, releasing };

  void completion(const io_uring_cqe& cqe) {
    const UserData data = classify(cqe.user_data);
    if (data.owner == Owner::step) {
      IoSlot& slot = slots_[data.index];
      if (settle_step(slot.chain, data, cqe.res)) resume(slot, data.index);
      return;
    }
    auto taken = delivery_.completion(cqe, data, [this](std::uint32_t index) { start(index); });
    if (!taken && !failure_) failure_ = taken.error();
  }

  void start(std::uint32_t index) {
    IoSlot& slot = slots_[index];
    const Request request = read_request(*slot.descriptor);
    slot.chain = {};
    Chain chain(ring_, slot.chain, index);
    path_.acquire(request, slot, index, chain, counters_);
    if (slot.chain.pending == 0) serve_request(request, slot, index, chain);
  }

  /// All SQEs of a phase have completed: on to the next one. Kept out of the loop, which has more
  /// in registers without it.
  [[gnu::noinline]] void resume(IoSlot& slot, std::uint32_t index) {
    const Request request = read_request(*slot.descriptor);
    Chain chain(ring_, slot.chain, index);
    switch (slot.chain.phase) {
      case acquiring:
        if (slot.chain.result < 0) return finish(request, slot, index);
        return serve_request(request, slot, index, chain);
      case serving:
        return release(request, slot, index, chain);
      default:
        return finish(request, slot, index);
    }
  }

  // The phase is noted only for a request that stays in flight: completions are looked at after
  // this request's turn, not within it.
  void serve_request(const Request& request, IoSlot& slot, std::uint32_t index, Chain& chain) {
    target_.queue(request, path_.data(request, slot, index), chain);
    if (slot.chain.pending == 0) return release(request, slot, index, chain);
    slot.chain.phase = serving;
  }

  void release(const Request& request, IoSlot& slot, std::uint32_t index, Chain& chain) {
    path_.release(request, slot, index, chain);
    if (slot.chain.pending == 0) return finish(request, slot, index);
    slot.chain.phase = releasing;
  }

  void finish(const Request& request, IoSlot& slot, std::uint32_t index) {
    std::int32_t result = slot.chain.result;
    if (static_cast<std::uint32_t>(result) != request.bytes) [[unlikely]] {
      result = partial_result<Path>(request, result);
      if (result < 0) counters_.failed_ios.add(1);
    }
    delivery_.commit(slot, index, result);
  }

  Ring ring_;
  DaemonSetup setup_;
  std::vector<IoSlot> slots_;
  Path path_;
  Target& target_;
  DaemonCounters& counters_;
  DeliveryOf<Path> delivery_;
  std::optional<Error> failure_;
};

std::size_t slot_count(const DaemonSetup& setup) {
  std::size_t slots = 0;
  for (const QueueView& queue : setup.queues) slots += queue.depth;
  return slots;
}

/// A ring that holds every command and step of the daemon, with its files and buffer table.
Result<Ring> make_ring(const DaemonSetup& setup, unsigned commands, bool buffer_table) {
  const std::size_t slots = slot_count(setup);
  const auto wanted = static_cast<unsigned>(commands + slots * setup.target->max_steps());
  auto ring = Ring::create({.sq_entries = std::min(std::bit_ceil(wanted), max_sq_entries),
                            .cq_entries = std::min(std::bit_ceil(2 * wanted), max_cq_entries)});
  if (!ring) return ring;

  std::vector<int> files{setup.char_device};
  std::ranges::copy(setup.target->files(), std::back_inserter(files));
  if (auto done = ring->register_files(files.data(), static_cast<unsigned>(files.size())); !done)
    return std::unexpected(done.error());
  if (!buffer_table) return ring;

  if (slots > max_registered_buffers)
    return bad_input(std::format("{} io commands in one daemon with zero copy", slots),
                     std::format("a ring's buffer table has at most {} slots: use more daemons or "
                                 "a smaller depth",
                                 max_registered_buffers));
  if (auto done = ring->register_sparse_buffers(static_cast<unsigned>(slots)); !done)
    return std::unexpected(done.error());
  return ring;
}

template <template <DataPath> class DeliveryOf, DataPath Path>
Result<std::unique_ptr<Daemon>> make(DaemonSetup setup, Path path) {
  const unsigned commands = DeliveryOf<Path>::commands(setup.queues, slot_count(setup));
  auto ring = make_ring(setup, commands, Path::address_kind == AddressKind::auto_register);
  if (!ring) return std::unexpected(ring.error());
  return std::make_unique<DaemonOf<DeliveryOf, Path>>(std::move(*ring), std::move(setup), path);
}

template <template <DataPath> class DeliveryOf>
Result<std::unique_ptr<Daemon>> make_with_path(BufferMode buffer, DaemonSetup setup) {
  switch (buffer) {
    case BufferMode::copy:
      return make<DeliveryOf>(std::move(setup), CopyPath{});
    case BufferMode::auto_zc: {
      if (!setup.auto_zc_fallback) return make<DeliveryOf>(std::move(setup), AutoZeroCopyPath{});
      const AutoZeroCopyFallbackPath path{.force_every = setup.force_fallback_every};
      return make<DeliveryOf>(std::move(setup), path);
    }
    default:
      return unsupported("this buffer mode has no data path");
  }
}

}  // namespace

Result<std::unique_ptr<Daemon>> make_daemon(const Mode& mode, DaemonSetup setup) {
  if (const auto why = unserved(mode))
    return unsupported(std::format("mode '{}': {}", mode.name(), *why));
  if (mode.delivery == DeliveryMode::batch)
    return make_with_path<BatchDelivery>(mode.buffer, std::move(setup));
  return make_with_path<PerIoDelivery>(mode.buffer, std::move(setup));
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// UBLK_F_BATCH_IO: one multishot FETCH_IO_CMDS per queue delivers tags by the buffer, one
// COMMIT_IO_CMDS per queue and turn of the loop gives results back.
//
// PREP and COMMIT are carried out while they are submitted (ublk_ch_batch_io_uring_cmd never
// defers them), so their elements are free again once the completion was seen. Two buffers per
// queue are enough: one is filled while the other's completion is on its way.
#pragma once

#include <liburing.h>

#include <bit>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/base/result.hpp"
#include "bench/server/batch_element.hpp"
#include "bench/server/commands.hpp"
#include "bench/server/fetch_buffers.hpp"
#include "bench/server/waiting.hpp"

namespace ublkbench {

template <DataPath Path>
class BatchDelivery {
 public:
  BatchDelivery(Ring& ring, std::span<const QueueView> queues, std::span<const IoSlot> slots,
                const Path& path, DaemonCounters& counters, const BatchOptions& options)
      : ring_(ring), slots_(slots), path_(path), counters_(counters), options_(options) {
    queues_.reserve(queues.size());
    for (const QueueView& view : queues)
      queues_.push_back({.view = view,
                         .filling = ElementBuffer(view.depth * bytes_per_element),
                         .in_flight = ElementBuffer(view.depth * bytes_per_element)});
  }

  /// Called with a queue's index once the driver has taken back its fetches, and has all results.
  void when_queue_ends(std::function<void(std::uint16_t)> ended) { ended_ = std::move(ended); }

  /// SQEs that this delivery has in flight at most: fetches and commits.
  static unsigned commands(std::span<const QueueView> queues, std::size_t,
                           const BatchOptions& options) {
    return static_cast<unsigned>(queues.size() * (3 + options.fetches_per_queue));
  }

  /// PREP_IO_CMDS for the queues whose io commands this daemon introduces to the driver, and a
  /// FETCH_IO_CMDS for each queue.
  Result<> arm() {
    for (std::uint16_t index = 0; index < queues_.size(); ++index)
      if (auto armed = arm_queue(index); !armed) return armed;
    return {};
  }

  [[nodiscard]] bool live() const { return live_queues_ != 0; }

  /// Completions to wait for: a commit's own is posted while it is submitted and says nothing that
  /// cannot wait for the next request, so that a turn of the loop is one io_uring_enter(), not two.
  /// Without a fetch in the driver a commit's may be the last one of all.
  [[nodiscard]] unsigned wait_for() const { return fetches_ != 0 ? commits_ + 1 : 1; }

  template <class Start>
  Result<> completion(const io_uring_cqe& cqe, const UserData& data, Start&& start) {
    if (data.owner == Owner::batch_commit) return commit_done(cqe, data);
    if (data.owner == Owner::batch_prep) return prep_done(cqe, data);
    return fetch_done(cqe, data, start);
  }

  void commit(const IoSlot& slot, std::uint32_t index, std::int32_t result) {
    ElementBuffer& buffer = queues_[slot.queue].filling;
    buffer.extend_to(encode_element<Path::address_kind, Path::zoned>(
        buffer.end(), slot.tag, result, path_.address(slot, index), path_.append_sector(index)));
  }

  void flush() {
    for (Queue& queue : queues_)
      if (queue.has_commits()) submit_commit(queue);
  }

  void reaped() {
    counters_.fetched_ios.add(fetched_);
    fetched_ = 0;
  }

 private:
  static constexpr std::uint8_t bytes_per_element = element_bytes<Path::address_kind, Path::zoned>;

  struct Queue {
    QueueView view;
    ElementBuffer filling;    // results since the last commit; at first, what PREP_IO_CMDS reads
    ElementBuffer in_flight;  // what a commit on its way reads
    std::size_t uncommitted = 0;
    unsigned fetches = 0;
    bool committing = false;
    bool preparing = false;
    FetchBuffers tags{};

    [[nodiscard]] bool has_commits() const { return !filling.empty() && !committing && !preparing; }
  };

  Result<> arm_queue(std::uint16_t index) {
    Queue& queue = queues_[index];
    auto tags = FetchBuffers::create(ring_, index, queue.view.depth, options_.fetch_tags);
    if (!tags) return std::unexpected(tags.error());
    queue.tags = std::move(*tags);
    if (queue.view.introduce) submit_prep(index);
    for (unsigned fetch = 0; fetch < options_.fetches_per_queue; ++fetch) queue_fetch(index);
    queue.fetches = options_.fetches_per_queue;
    fetches_ += options_.fetches_per_queue;
    ++live_queues_;
    return {};
  }

  void submit_prep(std::uint16_t index) {
    Queue& queue = queues_[index];
    ElementBuffer& elements = queue.filling;
    for (std::uint32_t tag = 0; tag < queue.view.depth; ++tag) {
      const std::uint32_t slot = queue.view.first_slot + tag;
      elements.extend_to(encode_element<Path::address_kind, Path::zoned>(
          elements.end(), static_cast<std::uint16_t>(tag), 0, path_.address(slots_[slot], slot)));
    }
    prep_batch_command(ring_.uncleared_sqe(), queue.view.device, UBLK_U_IO_PREP_IO_CMDS,
                       queue.view.id, elements.data(), queue.view.depth, bytes_per_element,
                       flags_of(queue), encode(Owner::batch_prep, index));
    queue.preparing = true;
  }

  std::uint16_t flags_of(const Queue& queue) const {
    const std::uint32_t slot = queue.view.first_slot;
    return batch_flags<Path::address_kind, Path::zoned>(path_.address(slots_[slot], slot));
  }

  void queue_fetch(std::uint16_t index) {
    const QueueView& view = queues_[index].view;
    prep_batch_fetch(ring_.uncleared_sqe(), view.device, view.id, index,
                     encode(Owner::batch_fetch, index));
  }

  void submit_commit(Queue& queue) {
    const auto index = static_cast<std::uint32_t>(&queue - queues_.data());
    std::swap(queue.filling, queue.in_flight);
    const ElementBuffer& buffer = queue.in_flight;
    const auto count = static_cast<std::uint16_t>(buffer.bytes() / bytes_per_element);
    prep_batch_command(ring_.uncleared_sqe(), queue.view.device, UBLK_U_IO_COMMIT_IO_CMDS,
                       queue.view.id, buffer.data(), count, bytes_per_element, flags_of(queue),
                       encode(Owner::batch_commit, index));
    counters_.commit_batch.record(count);
    queue.committing = true;
    ++commits_;
  }

  Result<> prep_done(const io_uring_cqe& cqe, const UserData& data) {
    Queue& queue = queues_[data.index];
    queue.filling.clear();
    queue.preparing = false;
    if (cqe.res == 0) return {};
    return failed("PREP_IO_CMDS of", formatted("queue {}", queue.view.id), -cqe.res);
  }

  Result<> commit_done(const io_uring_cqe& cqe, const UserData& data) {
    Queue& queue = queues_[data.index];
    ElementBuffer& buffer = queue.in_flight;
    --commits_;
    queue.committing = false;
    if (cqe.res <= 0 || static_cast<std::size_t>(cqe.res) > buffer.bytes())
      return failed("COMMIT_IO_CMDS of", formatted("queue {}", queue.view.id), -cqe.res);
    const auto taken = static_cast<unsigned>(cqe.res) / bytes_per_element;
    counters_.committed_ios.add(taken);
    queue.uncommitted -= taken;
    if (!buffer.consume(static_cast<std::size_t>(cqe.res))) [[unlikely]]
      recommit(queue);
    if (queue.fetches == 0) [[unlikely]]
      end_if_done(queue);
    return {};
  }

  void end_if_done(const Queue& queue) {
    if (queue.fetches != 0 || queue.uncommitted != 0 || queue.committing) return;
    --live_queues_;
    if (ended_) ended_(static_cast<std::uint16_t>(&queue - queues_.data()));
  }

  /// The driver took only the head of a commit: the rest goes in front of what came since.
  static void recommit(Queue& queue) {
    ElementBuffer& rest = queue.in_flight;
    ElementBuffer& newer = queue.filling;
    std::memcpy(rest.end(), newer.data(), newer.bytes());
    rest.extend_to(rest.end() + newer.bytes());
    newer.clear();
    std::swap(rest, newer);
  }

  template <class Start>
  Result<> fetch_done(const io_uring_cqe& cqe, const UserData& data, Start&& start) {
    const auto index = static_cast<std::uint16_t>(data.index);
    Queue& queue = queues_[index];
    if (cqe.res > 0) [[likely]] {
      const auto buffer = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
      const auto tags = decode_tags(queue.tags.buffer(buffer), cqe.res);
      counters_.fetch_batch.record(static_cast<unsigned>(tags.size()));
      fetched_ += static_cast<unsigned>(tags.size());
      queue.uncommitted += tags.size();
      const std::uint32_t first_slot = queue.view.first_slot;
      for (const std::uint16_t tag : tags) start(first_slot + tag);
      queue.tags.give_back(buffer);
    }
    if ((cqe.flags & IORING_CQE_F_MORE) != 0) [[likely]]
      return {};
    if (cqe.res == UBLK_IO_RES_ABORT) {
      --fetches_;
      --queue.fetches;
      end_if_done(queue);
      return {};
    }
    if (cqe.res < 0 && cqe.res != -ENOBUFS)
      return failed("FETCH_IO_CMDS of", formatted("queue {}", queue.view.id), -cqe.res);
    counters_.fetch_rearmed.add(1);
    queue_fetch(index);
    return {};
  }

  Ring& ring_;
  std::span<const IoSlot> slots_;
  const Path& path_;
  DaemonCounters& counters_;
  BatchOptions options_;
  std::vector<Queue> queues_;
  std::function<void(std::uint16_t)> ended_;
  unsigned fetches_ = 0;
  unsigned commits_ = 0;
  unsigned live_queues_ = 0;
  unsigned fetched_ = 0;
};

}  // namespace ublkbench

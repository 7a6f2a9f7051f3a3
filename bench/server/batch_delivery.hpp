// SPDX-License-Identifier: MIT
// UBLK_F_BATCH_IO: one multishot FETCH_IO_CMDS per queue delivers tags by the buffer, one
// COMMIT_IO_CMDS per queue and turn of the loop gives results back.
//
// PREP and COMMIT are carried out while they are submitted (ublk_ch_batch_io_uring_cmd never
// defers them), so their elements are free again once the completion was seen. Two buffers per
// queue are enough: one is filled while the other's completion is on its way.
#pragma once

#include <liburing.h>

#include <array>
#include <bit>
#include <cstdint>
#include <format>
#include <memory>
#include <span>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/server/batch_element.hpp"
#include "bench/server/commands.hpp"
#include "bench/server/fetch_buffers.hpp"

namespace ublkbench {

template <DataPath Path>
class BatchDelivery {
 public:
  BatchDelivery(Ring& ring, std::span<const QueueView> queues, std::span<const IoSlot> slots,
                const Path& path, DaemonCounters& counters)
      : ring_(ring), slots_(slots), path_(path), counters_(counters) {
    queues_.reserve(queues.size());
    for (const QueueView& view : queues)
      queues_.push_back({.view = view,
                         .buffers = {ElementBuffer(view.depth * bytes_per_element),
                                     ElementBuffer(view.depth * bytes_per_element)}});
  }

  /// SQEs that this delivery has in flight at most: fetches and commits.
  static unsigned commands(std::span<const QueueView> queues, std::size_t) {
    return static_cast<unsigned>(queues.size() * 4);
  }

  /// PREP_IO_CMDS for the queues whose io commands this daemon introduces to the driver, and a
  /// FETCH_IO_CMDS for each queue.
  Result<> arm() {
    for (std::uint16_t index = 0; index < queues_.size(); ++index)
      if (auto armed = arm_queue(index); !armed) return armed;
    return {};
  }

  [[nodiscard]] bool live() const { return fetches_ != 0 || uncommitted_ != 0 || commits_ != 0; }

  template <class Start>
  Result<> completion(const io_uring_cqe& cqe, const UserData& data, Start&& start) {
    if (data.owner == Owner::batch_commit) return commit_done(cqe, data);
    if (data.owner == Owner::batch_prep) return prep_done(cqe, data);
    return fetch_done(cqe, data, start);
  }

  void commit(std::uint32_t index, std::int32_t result) {
    const IoSlot& slot = slots_[index];
    Queue& queue = queues_[slot.queue];
    ElementBuffer& buffer = queue.filling();
    buffer.extend_to(encode_element<Path::address_kind>(buffer.end(), slot.tag, result,
                                                        path_.address(slot, index)));
  }

  void flush() {
    for (std::uint16_t index = 0; index < queues_.size(); ++index)
      if (queues_[index].has_commits()) submit_commit(index);
  }

  void reaped() {
    counters_.fetched_ios.add(fetched_);
    fetched_ = 0;
  }

 private:
  static constexpr std::uint8_t bytes_per_element = element_bytes<Path::address_kind>;

  struct Queue {
    QueueView view;
    std::array<ElementBuffer, 2> buffers;
    unsigned current = 0;     // the buffer being filled
    bool committing = false;  // the other one is on its way
    bool preparing = false;   // the one being filled holds PREP_IO_CMDS elements
    FetchBuffers tags{};

    bool has_commits() { return !filling().empty() && !committing && !preparing; }

    ElementBuffer& filling() { return buffers[current]; }
    ElementBuffer& in_flight() { return buffers[1 - current]; }
  };

  Result<> arm_queue(std::uint16_t index) {
    Queue& queue = queues_[index];
    auto tags = FetchBuffers::create(ring_, index, queue.view.depth);
    if (!tags) return std::unexpected(tags.error());
    queue.tags = std::move(*tags);
    if (queue.view.introduce) submit_prep(index);
    queue_fetch(index);
    ++fetches_;
    return {};
  }

  void submit_prep(std::uint16_t index) {
    Queue& queue = queues_[index];
    ElementBuffer& elements = queue.filling();
    for (std::uint32_t tag = 0; tag < queue.view.depth; ++tag) {
      const std::uint32_t slot = queue.view.first_slot + tag;
      elements.extend_to(encode_element<Path::address_kind>(
          elements.end(), static_cast<std::uint16_t>(tag), 0, path_.address(slots_[slot], slot)));
    }
    prep_batch_command(ring_.sqe(), UBLK_U_IO_PREP_IO_CMDS, queue.view.id, elements.data(),
                       queue.view.depth, bytes_per_element, flags_of(queue),
                       encode(Owner::batch_prep, index));
    queue.preparing = true;
  }

  std::uint16_t flags_of(const Queue& queue) const {
    const std::uint32_t slot = queue.view.first_slot;
    return batch_flags<Path::address_kind>(path_.address(slots_[slot], slot));
  }

  void queue_fetch(std::uint16_t index) {
    prep_batch_fetch(ring_.sqe(), queues_[index].view.id, index,
                     encode(Owner::batch_fetch, index));
  }

  void submit_commit(std::uint16_t index) {
    Queue& queue = queues_[index];
    const ElementBuffer& buffer = queue.filling();
    const auto count = static_cast<std::uint16_t>(buffer.bytes() / bytes_per_element);
    prep_batch_command(ring_.sqe(), UBLK_U_IO_COMMIT_IO_CMDS, queue.view.id, buffer.data(), count,
                       bytes_per_element, flags_of(queue), encode(Owner::batch_commit, index));
    counters_.commit_batch.record(count);
    queue.committing = true;
    queue.current = 1 - queue.current;
    ++commits_;
  }

  Result<> prep_done(const io_uring_cqe& cqe, const UserData& data) {
    Queue& queue = queues_[data.index];
    queue.filling().consume(queue.filling().bytes());
    queue.preparing = false;
    if (cqe.res == 0) return {};
    return failed("PREP_IO_CMDS of", std::format("queue {}", queue.view.id), -cqe.res);
  }

  Result<> commit_done(const io_uring_cqe& cqe, const UserData& data) {
    Queue& queue = queues_[data.index];
    ElementBuffer& buffer = queue.in_flight();
    --commits_;
    queue.committing = false;
    if (cqe.res <= 0 || static_cast<std::size_t>(cqe.res) > buffer.bytes())
      return failed("COMMIT_IO_CMDS of", std::format("queue {}", queue.view.id), -cqe.res);
    const auto taken = static_cast<unsigned>(cqe.res) / bytes_per_element;
    counters_.committed_ios.add(taken);
    uncommitted_ -= taken;
    if (!buffer.consume(static_cast<std::size_t>(cqe.res))) return recommit(queue);
    return {};
  }

  /// The driver took only the head of a commit: the rest goes in front of what came since.
  Result<> recommit(Queue& queue) {
    ElementBuffer& rest = queue.in_flight();
    ElementBuffer& newer = queue.filling();
    std::memcpy(rest.end(), newer.data(), newer.bytes());
    rest.extend_to(rest.end() + newer.bytes());
    newer.consume(newer.bytes());
    queue.current = 1 - queue.current;
    return {};
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
      uncommitted_ += tags.size();
      for (const std::uint16_t tag : tags) start(queue.view.first_slot + tag);
      queue.tags.give_back(buffer);
    }
    if ((cqe.flags & IORING_CQE_F_MORE) != 0) [[likely]] return {};
    if (cqe.res == UBLK_IO_RES_ABORT) {
      --fetches_;
      return {};
    }
    if (cqe.res < 0 && cqe.res != -ENOBUFS)
      return failed("FETCH_IO_CMDS of", std::format("queue {}", queue.view.id), -cqe.res);
    counters_.fetch_rearmed.add(1);
    queue_fetch(index);
    return {};
  }

  Ring& ring_;
  std::span<const IoSlot> slots_;
  const Path& path_;
  DaemonCounters& counters_;
  std::vector<Queue> queues_;
  std::size_t fetches_ = 0;
  std::size_t commits_ = 0;
  std::size_t uncommitted_ = 0;
  unsigned fetched_ = 0;
};

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/targets/fault_lane.hpp"

#include <time.h>

#include <algorithm>
#include <cstring>

#include "bench/targets/file_steps.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t ns_per_s = 1'000'000'000;

bool transfers(const Request& request) { return request.op == Op::read || request.op == Op::write; }

void block_task(std::uint64_t ns) {
  const timespec time{.tv_sec = static_cast<time_t>(ns / ns_per_s),
                      .tv_nsec = static_cast<long>(ns % ns_per_s)};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
}

Request head_of(const Request& request, std::uint32_t bytes) {
  Request head = request;
  head.bytes = bytes;
  return head;
}

}  // namespace

FaultLane::FaultLane(FaultTarget& target, TargetLane& below, int files_below,
                     const LaneSetup& setup)
    : target_(target),
      below_(below),
      cache_file_(files_below),
      tags_(setup.tags),
      verdicts_(setup.slots),
      random_(target.spec().seed + 0x1000193ULL * setup.index) {
  tags_.resize(setup.slots);
}

void FaultLane::queue(const Request& request, const Data& data, Chain& chain) noexcept {
  target_.count_request();
  Verdict& verdict = verdicts_[chain.slot()];
  const std::uint64_t delay_ns = judge(request, chain.slot(), verdict);
  if (verdict.hangs) return chain.park();
  if (delay_ns == 0) return serve(request, data, chain);
  verdict.timeout = {.tv_sec = static_cast<long long>(delay_ns / ns_per_s),
                     .tv_nsec = static_cast<long long>(delay_ns % ns_per_s)};
  io_uring_sqe* const sqe = chain.service_step();
  io_uring_prep_timeout(sqe, &verdict.timeout, 0, 0);
  chain.queued(sqe, StepKind::timer);
  chain.resume_at(delayed);
}

std::uint64_t FaultLane::judge(const Request& request, std::uint32_t slot, Verdict& verdict) {
  verdict = {.bytes = request.bytes};
  std::uint64_t delay_ns = 0;
  for (const Fault& fault : target_.spec().faults)
    if (hits(fault, request, slot)) apply(fault, request, verdict, delay_ns);
  if (target_.spec().bytes_per_second != 0 && transfers(request) && verdict.error == 0)
    delay_ns = std::max(delay_ns, target_.take_bandwidth_ns(verdict.bytes));
  return delay_ns;
}

bool FaultLane::hits(const Fault& fault, const Request& request, std::uint32_t slot) {
  const FaultMatch& match = fault.match;
  if (match.tag && *match.tag != tags_[slot].tag) return false;
  if (match.queue && *match.queue != tags_[slot].queue) return false;
  return match.hits(request, random_);
}

void FaultLane::apply(const Fault& fault, const Request& request, Verdict& verdict,
                      std::uint64_t& delay_ns) {
  switch (fault.kind) {
    case Fault::Kind::delay:
      delay_ns += fault.delay.draw_ns(random_);
      break;
    case Fault::Kind::stall:
      block_task(fault.delay.draw_ns(random_));
      break;
    case Fault::Kind::error:
      verdict.error = -fault.errnum;
      break;
    case Fault::Kind::torn:
      if (fault.bytes >= request.bytes) break;
      verdict.is_torn = true;
      [[fallthrough]];
    case Fault::Kind::cut_short:
      verdict.bytes = std::min(verdict.bytes, fault.bytes);
      break;
    case Fault::Kind::hang:
      verdict.hangs = true;
      break;
  }
}

/// The request's turn after its delay, if it had one.
void FaultLane::serve(const Request& request, const Data& data, Chain& chain) {
  const Verdict& verdict = verdicts_[chain.slot()];
  if (verdict.error != 0) return chain.complete(verdict.error);
  if (!transfers(request) || verdict.bytes != 0) {
    const Request head = head_of(request, verdict.bytes);
    if (target_.cache() != nullptr)
      serve_cached(head, data, chain);
    else
      below_.queue(head, data, chain);
  }
  after_below(verdict, chain);
}

void FaultLane::after_below(const Verdict& verdict, Chain& chain) {
  if (verdict.is_torn && chain.stage() == 0) chain.resume_at(torn);
}

void FaultLane::resume(std::uint8_t stage, const Request& request, const Data& data,
                       Chain& chain) noexcept {
  const Verdict& verdict = verdicts_[chain.slot()];
  const auto served = static_cast<std::int32_t>(verdict.bytes);
  switch (stage) {
    case delayed:
      return serve(request, data, chain);
    case torn:
      if (chain.result() == served) chain.set_result(static_cast<std::int32_t>(request.bytes));
      return;
    case cached_read:
      // Parts came from two places: a part that is short would leave a hole in the middle.
      if (chain.result() != served) chain.set_result(-EIO);
      return;
    case cached_write:
      written(head_of(request, verdict.bytes), chain);
      return after_below(verdict, chain);
    default:
      below_.resume(stage, head_of(request, verdict.bytes), data, chain);
      return after_below(verdict, chain);
  }
}

void FaultLane::serve_cached(const Request& request, const Data& data, Chain& chain) {
  switch (request.op) {
    case Op::read:
      return read_cached(request, data, chain);
    case Op::write:
      return write_cached(request, data, chain);
    case Op::flush:
      return chain.complete(target_.cache()->flush());
    default:
      chain.complete(-EOPNOTSUPP);
  }
}

void FaultLane::read_cached(const Request& request, const Data& data, Chain& chain) {
  const VolatileCache& cache = *target_.cache();
  for (std::uint64_t at = 0; at < request.bytes;) {
    Request part = request;
    part.offset += at;
    const VolatileCache::Run run = cache.run_at(part.offset, request.bytes - at);
    part.bytes = static_cast<std::uint32_t>(run.bytes);
    const Data there = data.from(at);
    if (!run.cached) {
      below_.queue(part, there, chain);
    } else if (data.place == Data::Place::registered) {
      queue_transfer(chain, cache_file_, part, there);
    } else {
      std::memcpy(there.memory, cache.memory() + part.offset, part.bytes);
      chain.complete(static_cast<std::int32_t>(part.bytes));
    }
    at += run.bytes;
  }
  chain.resume_at(cached_read);
}

void FaultLane::write_cached(const Request& request, const Data& data, Chain& chain) {
  if (data.place == Data::Place::registered) {
    Request plain = request;
    plain.fua = false;
    queue_transfer(chain, cache_file_, plain, data);
    return chain.resume_at(cached_write);
  }
  std::memcpy(target_.cache()->memory() + request.offset, data.memory, request.bytes);
  chain.complete(static_cast<std::int32_t>(request.bytes));
  written(request, chain);
}

void FaultLane::written(const Request& request, Chain& chain) {
  target_.cache()->written(request.offset, request.bytes);
  if (!request.fua) return;
  if (const std::int32_t flushed = target_.cache()->flush(); flushed < 0) chain.set_result(flushed);
}

}  // namespace ublkbench

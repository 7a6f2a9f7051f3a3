// SPDX-License-Identifier: MIT
#include "bench/targets/fault.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/targets/fault_lane.hpp"

namespace ublkbench {
namespace {

Result<> check_heads(const FaultSpec& spec, const DeviceShape& shape) {
  const std::uint32_t block = 1U << shape.logical_block_shift;
  for (const Fault& fault : spec.faults)
    if (fault.bytes % block != 0)
      return bad_input(formatted("a fault that serves {} bytes", fault.bytes),
                       formatted("the target has blocks of {} bytes: give a multiple", block));
  return {};
}

}  // namespace

Result<std::unique_ptr<Target>> FaultTarget::make(std::unique_ptr<Target> below, FaultSpec spec) {
  std::unique_ptr<FaultTarget> target(new FaultTarget(std::move(below), std::move(spec)));
  if (target->spec_.volatile_cache) {
    const int file = target->below_->plain_file();
    if (file < 0)
      return bad_input("cache=volatile over this target",
                       "it needs one file that holds the data as it is: mem:SIZE or loop:PATH");
    auto cache = VolatileCache::create(file, target->shape().bytes);
    if (!cache) return std::unexpected(cache.error());
    target->cache_ = std::move(*cache);
  }
  if (auto checked = check_heads(target->spec_, target->shape()); !checked)
    return std::unexpected(checked.error());
  return target;
}

DeviceShape FaultTarget::shape() const {
  DeviceShape shape = below_->shape();
  if (!spec_.volatile_cache) return shape;
  // Blocks of the cache are written whole. Discards would have to go around it, so there are none.
  shape.logical_block_shift = std::max(shape.logical_block_shift, VolatileCache::block_shift);
  shape.physical_block_shift = std::max(shape.physical_block_shift, shape.logical_block_shift);
  shape.bytes = shape.bytes >> shape.logical_block_shift << shape.logical_block_shift;
  shape.volatile_cache = true;
  shape.fua = true;
  shape.discard = false;
  shape.write_zeroes = false;
  return shape;
}

std::vector<int> FaultTarget::files() const {
  std::vector<int> files = below_->files();
  if (cache_) files.push_back(cache_->fd());
  return files;
}

Result<> FaultTarget::pollable(Data::Place place) const {
  if (spec_.volatile_cache)
    return unsupported("polled I/O with cache=volatile",
                       "the cache is memory, which does not poll");
  return below_->pollable(place);
}

Result<TargetLane*> FaultTarget::open_lane(const LaneSetup& setup) {
  auto below = below_->open_lane(setup);
  if (!below) return below;
  const auto files_below = static_cast<int>(below_->files().size());
  const std::scoped_lock lock(mutex_);
  lanes_.push_back(std::make_unique<FaultLane>(*this, **below, files_below, setup));
  return lanes_.back().get();
}

void FaultTarget::count_request() {
  if (spec_.die_at != 0 && ++requests_ == spec_.die_at) {
    ::kill(::getpid(), SIGKILL);
    ::pause();
  }
}

std::uint64_t FaultTarget::take_bandwidth_ns(std::uint32_t bytes) {
  const std::uint64_t now = now_ns();
  const auto cost_ns = static_cast<std::uint64_t>(static_cast<double>(bytes) * 1e9 /
                                                  static_cast<double>(spec_.bytes_per_second));
  std::uint64_t free_at = bandwidth_free_at_ns_.load();
  std::uint64_t end = 0;
  do {
    end = std::max(free_at, now) + cost_ns;
  } while (!bandwidth_free_at_ns_.compare_exchange_weak(free_at, end));
  return end - now;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/targets/memory.hpp"

#include <linux/falloc.h>

#include <cstring>

#include "bench/targets/file_steps.hpp"
#include "bench/targets/memory_file.hpp"

namespace ublkbench {

Result<std::unique_ptr<Target>> MemoryTarget::make(std::uint64_t bytes) {
  auto storage = make_memory_file("target mem", bytes);
  if (!storage) return std::unexpected(storage.error());
  return std::unique_ptr<Target>(
      new MemoryTarget(std::move(storage->file), std::move(storage->memory)));
}

Result<> MemoryTarget::pollable(Data::Place place) const {
  if (place != Data::Place::registered) return {};
  return unsupported("target mem cannot be polled with zero copy: tmpfs has no polled I/O",
                     "use a block device with poll queues, or null");
}

void MemoryTarget::queue(const Request& request, const Data& data, Chain& chain) noexcept {
  if (data.place == Data::Place::memory && request.op == Op::read) {
    std::memcpy(data.memory, storage_.data() + request.offset, request.bytes);
    chain.complete(static_cast<std::int32_t>(request.bytes));
  } else if (data.place == Data::Place::memory && request.op == Op::write) {
    std::memcpy(storage_.data() + request.offset, data.memory, request.bytes);
    chain.complete(static_cast<std::int32_t>(request.bytes));
  } else if (data.place == Data::Place::registered) {
    queue_transfer(chain, 0, request, data);
  } else if (request.op == Op::flush) {
    chain.complete(0);
  } else {
    // Both end with zeroes that take no memory; tmpfs has no ZERO_RANGE.
    queue_fallocate(chain, 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, request.offset,
                    request.bytes);
  }
}

}  // namespace ublkbench

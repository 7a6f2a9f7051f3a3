// SPDX-License-Identifier: MIT
#include "bench/load/verify_model.hpp"

#include <algorithm>

#include "bench/base/format.hpp"

namespace ublkbench::load {

VerifyModel::VerifyModel(const Geometry& geometry)
    : geometry_(geometry), granules_(geometry.granules), writes_(1) {}

std::uint64_t VerifyModel::begin_write(std::uint32_t first, std::uint32_t count) {
  writes_.push_back({.first = first, .count = count});
  return writes_.size() - 1;
}

void VerifyModel::fill(std::uint64_t write, std::span<std::byte> data) const {
  const Extent extent = writes_[write];
  for (std::uint32_t i = 0; i < extent.count; ++i) {
    const std::uint32_t granule = extent.first + i;
    fill_block(data.subspan(std::size_t{i} * geometry_.granule_bytes, geometry_.granule_bytes),
               {.device = geometry_.device,
                .offset = offset_of(granule),
                .run = geometry_.run,
                .write = write,
                .generation = granules_[granule].generation + 1,
                .position = i,
                .length = extent.count});
  }
}

void VerifyModel::acknowledge(std::uint64_t write) {
  const Extent extent = writes_[write];
  for (std::uint32_t granule = extent.first; granule < extent.first + extent.count; ++granule) {
    ++granules_[granule].generation;
    granules_[granule].write = static_cast<std::uint32_t>(write);
    granules_[granule].uncertain = false;
  }
}

void VerifyModel::fail(std::uint64_t write) {
  const Extent extent = writes_[write];
  for (std::uint32_t granule = extent.first; granule < extent.first + extent.count; ++granule)
    granules_[granule].uncertain = true;
}

BlockIdentity VerifyModel::expected(std::uint32_t granule) const {
  const Granule& state = granules_[granule];
  const Extent extent = writes_[state.write];
  return {.device = geometry_.device,
          .offset = offset_of(granule),
          .run = geometry_.run,
          .write = state.write,
          .generation = state.generation,
          .position = granule - extent.first,
          .length = extent.count};
}

void VerifyModel::check(std::uint32_t first, std::span<const std::byte> data) {
  const std::uint32_t bytes = geometry_.granule_bytes;
  for (std::uint32_t i = 0; std::size_t{i} * bytes < data.size(); ++i)
    check_granule(first + i, data.subspan(std::size_t{i} * bytes, bytes));
}

void VerifyModel::check_granule(std::uint32_t granule, std::span<const std::byte> block) {
  const Granule& state = granules_[granule];
  if (state.generation == 0) return;  // never written: anything may be there
  ++checked_;
  const BlockView view = inspect_block(block);
  switch (view.state) {
    case BlockState::intact:
      return check_intact(granule, view.found);
    case BlockState::zeroed:
      return add(Fault::zeroed, granule, {}, "holds nothing but zeroes");
    case BlockState::torn:
      return add(Fault::torn, granule, view.found,
                 formatted("begins with write {} and holds another from its byte {} on",
                           view.found.write, view.first_bad_byte));
    case BlockState::corrupt:
      return add(Fault::corrupt, granule, view.found,
                 formatted("has the header of write {} but wrong bytes, the first at {}",
                           view.found.write, view.first_bad_byte));
    case BlockState::headerless:
      return add(Fault::corrupt, granule, {},
                 std::ranges::count(block, untouched) == std::ssize(block)
                     ? "was not transferred: the read succeeded but left the buffer as it was"
                     : "has no sound header: it is not what was written");
  }
}

void VerifyModel::check_intact(std::uint32_t granule, const BlockIdentity& found) {
  Granule& state = granules_[granule];
  const BlockIdentity wanted = expected(granule);
  if (found == wanted) {
    state.seen = state.generation;
    return;
  }
  if (found.device != wanted.device)
    return add(Fault::misplaced, granule, found,
               formatted("holds a block of another device (its byte {})", found.offset));
  if (found.offset != wanted.offset)
    return add(Fault::misplaced, granule, found,
               formatted("holds the block that belongs to byte {}", found.offset));
  if (found.run != wanted.run)
    return add(Fault::stale, granule, found, "holds a block of an earlier run");
  if (state.uncertain && found.generation == wanted.generation + 1) return;
  if (found.generation >= wanted.generation)
    return add(Fault::corrupt, granule, found,
               formatted("claims write {} (generation {}), which was not made here", found.write,
                         found.generation));
  if (found.generation < state.seen)
    return add(Fault::stale, granule, found,
               formatted("went back to write {} (generation {}) after a read had returned "
                         "generation {}",
                         found.write, found.generation, state.seen));
  if (found.generation + 1 < wanted.generation)
    return add(Fault::stale, granule, found,
               formatted("holds write {} (generation {}), {} writes ago", found.write,
                         found.generation, wanted.generation - found.generation));
  lost_.push_back(granule);
  add(Fault::lost, granule, found,
      formatted("still holds write {}: the newer one was acknowledged but is not there",
                found.write));
}

void VerifyModel::add(Fault fault, std::uint32_t granule, std::optional<BlockIdentity> found,
                      std::string sentence) {
  ++counts_[static_cast<std::size_t>(fault)];
  if (failures_.size() == failures_kept) return;
  const BlockIdentity wanted = expected(granule);
  failures_.push_back(
      {.fault = fault,
       .offset = wanted.offset,
       .expected = wanted,
       .found = found,
       .sentence =
           formatted("byte {}: {}: the block {} (expected write {}, generation {})", wanted.offset,
                     name_of(fault), sentence, wanted.write, wanted.generation)});
}

/// Did another block of the write that `granule` misses reach the device, and was it read since?
bool VerifyModel::sibling_arrived(std::uint32_t granule) const {
  const std::uint32_t write = granules_[granule].write;
  const Extent extent = writes_[write];
  const auto begin = granules_.begin() + extent.first;
  return std::any_of(begin, begin + extent.count, [&](const Granule& other) {
    return other.write == write && other.seen == other.generation;
  });
}

void VerifyModel::finish() {
  for (const std::uint32_t granule : lost_) {
    if (!sibling_arrived(granule)) continue;
    --counts_[static_cast<std::size_t>(Fault::lost)];
    ++counts_[static_cast<std::size_t>(Fault::torn)];
    const auto is_this = [&](const Failure& failure) {
      return failure.fault == Fault::lost && failure.offset == offset_of(granule);
    };
    const auto failure = std::ranges::find_if(failures_, is_this);
    if (failure == failures_.end()) continue;
    failure->fault = Fault::torn;
    const BlockIdentity& wanted = failure->expected;
    failure->sentence = formatted(
        "byte {}: torn: the block still holds write {} while other blocks of write {} ({} blocks) "
        "arrived",
        failure->offset, failure->found->write, wanted.write, wanted.length);
  }
  lost_.clear();
}

}  // namespace ublkbench::load

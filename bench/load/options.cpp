// SPDX-License-Identifier: MIT
#include "bench/load/options.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::load {
namespace {

constexpr std::array pattern_names{
    std::pair{Pattern::read, "read"},
    std::pair{Pattern::write, "write"},
    std::pair{Pattern::randread, "randread"},
    std::pair{Pattern::randwrite, "randwrite"},
    std::pair{Pattern::rw, "rw"},
    std::pair{Pattern::randrw, "randrw"},
};

// What one job may have in flight: io_uring takes at most 32768 SQEs (IORING_MAX_ENTRIES) and 16384
// registered buffers (IORING_MAX_REG_BUFFERS).
constexpr unsigned depth_max = 16384;
constexpr unsigned jobs_max = 1024;
constexpr std::uint64_t block_bytes_max = 64ULL << 20;  // far below an SQE's 32-bit length

Result<> validate_shape(const LoadOptions& options) {
  if (options.device.empty()) return bad_input("no device given");
  if (options.block_bytes == 0 || options.block_bytes > block_bytes_max)
    return bad_input(formatted("block size {} is out of range", options.block_bytes),
                     "1 byte to 64M");
  if (options.depth == 0 || options.depth > depth_max)
    return bad_input(formatted("depth {} is out of range", options.depth), "1 to 16384");
  if (options.jobs == 0 || options.jobs > jobs_max)
    return bad_input(formatted("{} jobs is out of range", options.jobs), "1 to 1024");
  if (options.submit_batch > options.depth)
    return bad_input(
        formatted("submit batch {} is above the depth {}", options.submit_batch, options.depth));
  if (options.complete_batch > options.depth)
    return bad_input(formatted("complete batch {} is above the depth {}", options.complete_batch,
                               options.depth));
  if (options.rw_mix_read_percent > 100)
    return bad_input(formatted("{} % reads is above 100 %", options.rw_mix_read_percent));
  return {};
}

Result<> validate_work(const LoadOptions& options) {
  if ((options.ios == 0) == (options.runtime_ns == 0))
    return bad_input("give either a number of I/Os or a runtime");
  if (options.rate_iops > 1'000'000'000)
    return bad_input(formatted("a rate of {} I/Os per second is out of range", options.rate_iops));
  if (options.rate_iops != 0 && options.hipri)
    return bad_input("a fixed rate cannot be polled",
                     "a polled ring cannot sleep until the next I/O is due");
  if (options.max_errors == 0) return bad_input("max errors is 0", "1 stops at the first error");
  if (options.hang_timeout_ns == 0) return bad_input("the hang timeout is 0");
  if (options.hipri && !options.direct)
    return bad_input("polled I/O needs direct I/O", "the page cache has nothing to poll");
  return {};
}

Result<> validate_alignment(const LoadOptions& options, const DeviceFacts& facts) {
  // Buffered I/O on a regular file may be of any size; everything else moves logical blocks.
  if (!facts.is_block && !options.direct) return {};
  const unsigned logical = facts.logical_block_bytes;
  if (options.block_bytes % logical != 0)
    return bad_input(formatted("block size {} is no multiple of the logical block size {} of {}",
                               options.block_bytes, logical, facts.path));
  if (options.offset % logical != 0)
    return bad_input(formatted("offset {} is no multiple of the logical block size {} of {}",
                               options.offset, logical, facts.path));
  return {};
}

Result<> validate_range(const LoadOptions& options, const DeviceFacts& facts) {
  if (options.block_bytes > facts.bytes)
    return bad_input(formatted("block size {} is above the size {} of {}",
                               format_size(options.block_bytes), format_size(facts.bytes),
                               facts.path));
  if (options.offset > facts.bytes - options.block_bytes)
    return bad_input(formatted("offset {} leaves no whole block on {} ({} bytes)", options.offset,
                               facts.path, facts.bytes));
  if (options.range > facts.bytes - options.offset)
    return bad_input(formatted("offset {} + range {} is beyond the end of {} ({} bytes)",
                               options.offset, options.range, facts.path, facts.bytes));
  const std::uint64_t blocks = range_of(options, facts).blocks;
  if (blocks == 0)
    return bad_input(
        formatted("range {} is below the block size {}", options.range, options.block_bytes));
  if (!is_random(options.pattern) && blocks < options.jobs)
    return bad_input(
        formatted("{} blocks cannot be shared by {} sequential jobs", blocks, options.jobs));
  return {};
}

Result<> validate_limits(const LoadOptions& options, const DeviceFacts& facts) {
  if (facts.max_hw_bytes != 0 && options.block_bytes > facts.max_hw_bytes && !options.allow_split)
    return bad_input(
        formatted("block size {} is above what {} takes in one request ({}): the kernel would "
                  "split each I/O, and the figures would not be per I/O of that size",
                  format_size(options.block_bytes), facts.path, format_size(facts.max_hw_bytes)),
        "choose a smaller block size, or give --allow-split if that is what you want to measure");
  if (options.hipri && facts.is_block && !facts.io_poll)
    return unsupported(formatted("{} has no poll queues (queue/io_poll is 0)", facts.path),
                       "polled I/O would fail with EOPNOTSUPP; load the driver with poll queues");
  return {};
}

}  // namespace

Result<Pattern> parse_pattern(std::string_view word) {
  for (const auto& [pattern, name] : pattern_names)
    if (word == name) return pattern;
  return bad_input(formatted("'{}' is not a pattern", word),
                   "use read, write, randread, randwrite, rw or randrw");
}

std::vector<std::string> pattern_words() {
  std::vector<std::string> words;
  for (const auto& [pattern, name] : pattern_names) words.emplace_back(name);
  return words;
}

std::string_view name_of(Pattern pattern) {
  for (const auto& [value, name] : pattern_names)
    if (value == pattern) return name;
  return "?";
}

unsigned LoadOptions::effective_submit_batch() const {
  return submit_batch != 0 ? submit_batch : std::max(depth / 4, 1U);
}

unsigned LoadOptions::effective_complete_batch() const {
  return complete_batch != 0 ? complete_batch : std::max(depth / 4, 1U);
}

std::uint64_t LoadOptions::effective_warmup_ios() const {
  if (warmup_ios != default_warmup) return warmup_ios;
  const std::uint64_t all_tags = std::uint64_t{depth} * jobs;
  const std::uint64_t wanted = std::max<std::uint64_t>(4 * all_tags, 2000);
  // A device is as warm after 256M; each tag has its turn, and an open loop does not wait for them.
  const std::uint64_t most = std::max(default_warmup_bytes / block_bytes, all_tags);
  const std::uint64_t bounded = std::min(wanted, most);
  return rate_iops == 0 ? bounded : std::min(bounded, 2 * rate_iops);
}

Result<> validate(const LoadOptions& options) {
  if (auto shape = validate_shape(options); !shape) return shape;
  if (auto work = validate_work(options); !work) return work;
  if (writes(options.pattern) && !options.destructive)
    return bad_input(formatted("'{}' overwrites {}", name_of(options.pattern), options.device),
                     "allow it with --destructive");
  return {};
}

Result<> validate(const LoadOptions& options, const DeviceFacts& facts) {
  if (auto range = validate_range(options, facts); !range) return range;
  if (auto alignment = validate_alignment(options, facts); !alignment) return alignment;
  return validate_limits(options, facts);
}

std::vector<std::string> remarks(const LoadOptions& options, const DeviceFacts& facts) {
  std::vector<std::string> said;
  if (!facts.is_block)
    said.push_back(facts.path + " is a regular file: a file system is in between");
  if (facts.max_bytes != 0 && options.block_bytes > facts.max_bytes)
    said.push_back(formatted("the kernel splits {} into requests of at most {} (max_sectors_kb)",
                             format_size(options.block_bytes), format_size(facts.max_bytes)));
  // What one io_uring_enter() submits is plugged, and the plug merges neighbours
  // (block/blk-merge.c).
  if (facts.merges && !is_random(options.pattern) && options.effective_submit_batch() > 1)
    said.push_back(
        "the kernel merges sequential I/Os of one batch: the device sees fewer, larger requests "
        "than "
        "there are I/Os (submit batch 1 or queue/nomerges avoid it)");
  // Buffers are virtually contiguous only, so at worst every page is a segment.
  const std::uint64_t pages = (options.block_bytes + 4095) / 4096;
  if (facts.max_segments != 0 && pages > facts.max_segments)
    said.push_back(formatted("the kernel may split {}: it may need {} segments, {} takes {}",
                             format_size(options.block_bytes), pages, facts.path,
                             facts.max_segments));
  return said;
}

Range range_of(const LoadOptions& options, const DeviceFacts& facts) {
  const std::uint64_t bytes = options.range != 0 ? options.range : facts.bytes - options.offset;
  return {.begin = options.offset, .blocks = bytes / options.block_bytes};
}

}  // namespace ublkbench::load

// SPDX-License-Identifier: MIT
#include "bench/load/verify_plan.hpp"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/load/offsets.hpp"

namespace ublkbench::load {
namespace {

constexpr unsigned depth_max = 4096;

std::uint64_t hash_of(const std::string& text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char letter : text)
    hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
  return hash;
}

/// Different in each run, so that what an earlier run with the same seed left is not taken for
/// ours.
std::uint64_t run_id() {
  return Random(now_ns() ^ (static_cast<std::uint64_t>(::getpid()) << 40)).next();
}

}  // namespace

Result<> validate(const VerifyOptions& options) {
  if (options.device.empty()) return bad_input("no device given");
  if (!options.destructive)
    return bad_input(formatted("verification overwrites {}", options.device),
                     "allow it with --destructive");
  if (options.depth == 0 || options.depth > depth_max)
    return bad_input(formatted("depth {} is out of range", options.depth), "1 to 4096");
  if (options.sizes.empty()) return bad_input("no I/O size given");
  for (const std::uint64_t size : options.sizes)
    if (size == 0 || size > (16 << 20))
      return bad_input(formatted("I/O size {} is out of range", size), "512 to 16M");
  return {};
}

Result<VerifyPlan> make_verify_plan(const VerifyOptions& options, const DeviceFacts& facts) {
  const std::uint32_t granule = std::max(facts.logical_block_bytes, 512U);
  if (options.offset % granule != 0)
    return bad_input(formatted("offset {} is no multiple of the logical block size {}",
                               options.offset, granule));
  if (options.offset >= facts.bytes)
    return bad_input(formatted("offset {} is beyond the end of {}", options.offset, facts.path));
  std::uint64_t bytes = facts.bytes - options.offset;
  if (options.range != 0) bytes = std::min(bytes, options.range);
  const std::uint64_t granules = bytes / granule;
  if (granules == 0) return bad_input("the range to verify is below one logical block");
  if (granules > std::numeric_limits<std::uint32_t>::max() / 2)
    return bad_input(formatted("a range of {} is too much to verify", format_size(bytes)),
                     "give a smaller one");
  VerifyPlan plan{
      .geometry = {.device = hash_of(std::filesystem::path(facts.path).lexically_normal()),
                   .run = run_id(),
                   .begin = options.offset,
                   .granule_bytes = granule,
                   .granules = static_cast<std::uint32_t>(granules)},
      .sizes = {}};
  for (const std::uint64_t size : options.sizes) {
    const bool splits = facts.max_hw_bytes != 0 && size > facts.max_hw_bytes;
    if (size % granule == 0 && size / granule <= granules && !splits)
      plan.sizes.push_back(static_cast<std::uint32_t>(size / granule));
  }
  if (plan.sizes.empty()) plan.sizes.push_back(1);
  std::ranges::sort(plan.sizes);
  return plan;
}

}  // namespace ublkbench::load

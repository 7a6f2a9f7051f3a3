// SPDX-License-Identifier: MIT
#include "bench/suite/window_meter.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <sstream>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"

namespace ublkbench {
namespace {

/// Documentation/block/stat.rst.
struct BlockStat {
  std::uint64_t completed_ios = 0;
  std::uint32_t in_queue_ms = 0;  // of all requests together; the kernel prints 32 bits
};

std::optional<BlockStat> block_stat(const std::string& text) {
  std::array<std::uint64_t, 17> fields{};
  std::istringstream words(text);
  for (std::uint64_t& field : fields)
    if (!(words >> field)) return std::nullopt;
  return BlockStat{.completed_ios = fields[0] + fields[4] + fields[11] + fields[15],
                   .in_queue_ms = static_cast<std::uint32_t>(fields[10])};
}

Fd opened(const std::string& path) {
  auto file = open_file(path, O_RDONLY);
  return file ? std::move(*file) : Fd();
}

}  // namespace

WindowMeter::WindowMeter(const std::string& device, pid_t server) : load_(group_of(::getpid())) {
  struct stat status{};
  if (::stat(device.c_str(), &status) == 0)
    block_stat_ = opened(
        formatted("/sys/dev/block/{}:{}/stat", major(status.st_rdev), minor(status.st_rdev)));
  if (server > 0) server_ = group_of(server);
  // The first reading of a file costs more than the others; it is not to be the one at the edge.
  read(begin_);
}

WindowMeter::Group WindowMeter::group_of(pid_t process) {
  Group group{.quota = cpu_quota_of(process), .stat = {}};
  if (group.quota) group.stat = opened(group.quota->group + "/cpu.stat");
  return group;
}

void WindowMeter::take(const Fd& file, Text& text) {
  text.length = 0;
  if (!file.valid()) return;
  const ssize_t bytes = ::pread(file.get(), text.bytes.data(), text.bytes.size(), 0);
  if (bytes > 0) text.length = static_cast<std::size_t>(bytes);
}

void WindowMeter::read(Reading& reading) const {
  reading.at_ns = now_ns();
  take(block_stat_, reading.block);
  take(server_.stat, reading.server);
  take(load_.stat, reading.load);
}

std::optional<BlockUse> WindowMeter::block() const {
  const auto earlier = block_stat(begin_.block.string());
  const auto later = block_stat(end_.block.string());
  if (!earlier || !later || end_.at_ns <= begin_.at_ns) return std::nullopt;
  const std::uint64_t ios = later->completed_ios - earlier->completed_ios;
  // With iostats off nothing is counted.
  if (ios == 0) return std::nullopt;
  const std::uint32_t in_queue_ms = later->in_queue_ms - earlier->in_queue_ms;
  return BlockUse{
      .completed_ios = ios,
      .in_flight_mean = 1e6 * in_queue_ms / static_cast<double>(end_.at_ns - begin_.at_ns)};
}

std::optional<CpuQuota> WindowMeter::used(const Group& group, const Text& earlier,
                                          const Text& later) {
  if (!group.quota) return std::nullopt;
  return with_counts(*group.quota, later.string()) - with_counts(*group.quota, earlier.string());
}

QuotaUse WindowMeter::cpu_quota() const {
  return {.server = used(server_, begin_.server, end_.server),
          .load = used(load_, begin_.load, end_.load)};
}

}  // namespace ublkbench

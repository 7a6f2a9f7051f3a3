// SPDX-License-Identifier: MIT
#include "probes/lib/in_flight.hpp"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <optional>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "probes/lib/histogram_text.hpp"

namespace ublkbench::probes {
namespace {

/// Reads and writes that the driver has (Documentation/ABI/stable/sysfs-block); nothing of a device
/// that is gone.
std::optional<std::uint64_t> tags_in_flight(const Fd& file) {
  char text[64];
  const ssize_t bytes = ::pread(file.get(), text, sizeof(text) - 1, 0);
  if (bytes <= 0) return std::nullopt;
  text[bytes] = '\0';
  char* rest = nullptr;
  const std::uint64_t reads = std::strtoull(text, &rest, 10);
  return reads + std::strtoull(rest, nullptr, 10);
}

double mean(std::uint64_t sum, std::uint64_t looks) {
  return looks == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(looks);
}

}  // namespace

void InFlightSeries::Interval::add(const Interval& other) {
  looks += other.looks;
  sum += other.sum;
  min = std::min(min, other.min);
  max = std::max(max, other.max);
}

InFlightSeries::InFlightSeries(const Subject& subject) {
  for (const Device& device : subject.devices) {
    Fd file(
        ::open(formatted("/sys/block/ublkb{}/inflight", device.id).c_str(), O_RDONLY | O_CLOEXEC));
    if (file.valid()) watched_.push_back({.device = device.id, .file = std::move(file)});
  }
  begin_ns_ = now_ns();
  if (!watched_.empty())
    thread_ = std::jthread([this](const std::stop_token& stop) {
      // Signals are the main thread's, which reads them from a file once it blocks them.
      sigset_t all;
      sigfillset(&all);
      ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
      look_until(stop);
    });
}

void InFlightSeries::restart() {
  const std::lock_guard lock(mutex_);
  begin_ns_ = now_ns();
  for (Watched& watched : watched_) {
    watched.tags_looks.clear();
    watched.intervals.clear();
    watched.interval_ns = first_interval_ns;
  }
}

void InFlightSeries::stop() {
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
}

void InFlightSeries::look_until(const std::stop_token& stopping) {
  std::mutex sleeping;
  std::condition_variable_any wake;
  while (!stopping.stop_requested()) {
    for (Watched& watched : watched_) {
      // Locked before the look: what was seen before a restart is not noted after it.
      const std::lock_guard lock(mutex_);
      if (const auto tags = tags_in_flight(watched.file))
        note(watched, now_ns() - begin_ns_, *tags);
    }
    std::unique_lock lock(sleeping);
    wake.wait_for(lock, stopping, std::chrono::nanoseconds(look_every_ns), [] { return false; });
  }
}

void InFlightSeries::note(Watched& watched, std::uint64_t at_ns, std::uint64_t tags) {
  ++watched.tags_looks[tags];
  while (at_ns / watched.interval_ns >= most_intervals) {
    for (std::size_t at = 0; at < watched.intervals.size(); at += 2) {
      Interval joined = watched.intervals[at];
      if (at + 1 < watched.intervals.size()) joined.add(watched.intervals[at + 1]);
      watched.intervals[at / 2] = joined;
    }
    watched.intervals.resize((watched.intervals.size() + 1) / 2);
    watched.interval_ns *= 2;
  }
  const std::size_t at = at_ns / watched.interval_ns;
  if (watched.intervals.size() <= at) watched.intervals.resize(at + 1);
  watched.intervals[at].add({.looks = 1, .sum = tags, .min = tags, .max = tags});
}

std::vector<probed::InFlight> InFlightSeries::record() const {
  const std::lock_guard lock(mutex_);
  std::vector<probed::InFlight> devices;
  for (const Watched& watched : watched_) {
    probed::InFlight device{.device = static_cast<std::uint64_t>(watched.device),
                            .tags_looks = watched.tags_looks,
                            .interval_ns = watched.interval_ns,
                            .series = {}};
    Interval all;
    for (std::size_t at = 0; at < watched.intervals.size(); ++at) {
      const Interval& interval = watched.intervals[at];
      if (interval.looks == 0) continue;
      all.add(interval);
      device.series.push_back({.at_ns = at * watched.interval_ns,
                               .min = interval.min,
                               .mean = mean(interval.sum, interval.looks),
                               .max = interval.max});
    }
    device.looks = all.looks;
    device.mean = mean(all.sum, all.looks);
    devices.push_back(std::move(device));
  }
  return devices;
}

std::string InFlightSeries::brief(const std::vector<probed::InFlight>& devices) {
  std::string lines;
  for (const probed::InFlight& device : devices)
    lines += histogram_line(formatted("in flight, dev {}", device.device), device.tags_looks,
                            Values::numbers);
  return lines;
}

std::string InFlightSeries::text(const std::vector<probed::InFlight>& devices) {
  std::string text;
  for (const probed::InFlight& device : devices) {
    text += formatted(
        "\ntags of device {} in flight, at {} looks: mean {:.1f}\n{:>10} {:>6} {:>8} {:>6}\n",
        device.device, device.looks, device.mean, "from", "min", "mean", "max");
    for (const probed::InFlightInterval& interval : device.series)
      text +=
          formatted("{:>10} {:>6} {:>8.1f} {:>6}\n", format_ns(static_cast<double>(interval.at_ns)),
                    interval.min, interval.mean, interval.max);
    text += log2_histogram("tags_in_flight", device.tags_looks) + '\n';
  }
  return text;
}

}  // namespace ublkbench::probes

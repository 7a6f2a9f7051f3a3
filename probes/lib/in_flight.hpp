// SPDX-License-Identifier: MIT
// How many tags of each device are in flight over time, as the block layer itself counts them:
// looked at every few milliseconds, which costs the I/Os nothing.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/record/probe_document.hpp"
#include "probes/lib/subject.hpp"

namespace ublkbench::probes {

class InFlightSeries {
 public:
  static constexpr std::uint64_t look_every_ns = 5'000'000;
  static constexpr std::uint64_t first_interval_ns = 100'000'000;
  static constexpr std::size_t most_intervals = 32;  ///< then two become one

  /// Looks at the devices that there are now until it is destroyed.
  explicit InFlightSeries(const Subject& subject);

  /// Forgets what was seen so far; the series begins anew.
  void restart();
  /// Looks no more.
  void stop();

  /// Of each device.
  [[nodiscard]] std::vector<probed::InFlight> record() const;
  static std::string text(const std::vector<probed::InFlight>& devices);
  static std::string brief(const std::vector<probed::InFlight>& devices);

 private:
  struct Interval {
    std::uint64_t looks = 0;
    std::uint64_t sum = 0;
    std::uint64_t min = UINT64_MAX;
    std::uint64_t max = 0;

    void add(const Interval& other);
  };
  struct Watched {
    int device;
    Fd file;
    SizeEvents tags_looks;
    std::uint64_t interval_ns = first_interval_ns;
    std::vector<Interval> intervals;  ///< without a look: the sampler had no CPU then
  };

  void look_until(const std::stop_token& stopping);
  static void note(Watched& watched, std::uint64_t at_ns, std::uint64_t tags);

  mutable std::mutex mutex_;
  std::uint64_t begin_ns_ = 0;
  std::vector<Watched> watched_;
  std::jthread thread_;  // last: it ends before what it uses
};

}  // namespace ublkbench::probes

// SPDX-License-Identifier: MIT
// Histograms as bpftrace prints them: people know the picture.
#pragma once

#include <cstdint>
#include <string>

#include "bench/record/fields.hpp"
#include "probes/log2_slots.h"

namespace ublkbench::probes {

/// "@name: " and a line a power of two, from the lowest that has events to the highest:
/// "[4, 8)      123 |@@@@      |". Values are printed with K, M, G for powers of 1024.
std::string log2_histogram(const std::string& name, const SizeEvents& counts);

/// What the values of a histogram are, and how exactly they are known.
enum class Values : std::uint8_t {
  numbers,       ///< exact
  times_ns,      ///< within a percent
  numbers_log2,  ///< the lowest of a power of two: 4 stands for 4 to 7
  times_log2_ns
};

/// "NAME  N  mean  p50  p99  min..max  |.:#@=.|" in columns: one character of the picture for each
/// power of two from min to max. Where only powers of two are known the percentiles are "<8", and
/// the mean is what the caller knows it to be, or "-".
std::string histogram_line(const std::string& name, const SizeEvents& counts, Values values,
                           double known_mean = -1);
/// The titles of those columns.
std::string histogram_titles();

/// By the lowest value of each of BPF's slots.
SizeEvents log2_events(const unsigned long long (&events)[LOG2_SLOTS]);

}  // namespace ublkbench::probes

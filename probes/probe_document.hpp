// SPDX-License-Identifier: MIT
// What several probes counted, together: their records, and the text of these.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "probes/probe.hpp"

namespace ublkbench::probes {

struct Attached {
  std::string name;
  std::unique_ptr<Probe> probe;
};

/// With all histograms and what they were learnt from, or a line a histogram.
enum class Detail : std::uint8_t { all, brief };

/// {"batch": {...}, ...}
Result<nlohmann::json> records_of(std::span<const Attached> probes, Span span);
std::string text_of(std::span<const Attached> probes, const nlohmann::json& records, Detail detail);

/// Sums and sizes only: what can be held against another count.
nlohmann::json without_histograms(nlohmann::json records);

}  // namespace ublkbench::probes

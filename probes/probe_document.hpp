// SPDX-License-Identifier: MIT
// What several probes counted, together: their records, and the text of these.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "bench/record/probe_document.hpp"
#include "probes/probe.hpp"

namespace ublkbench::probes {

struct Attached {
  std::string name;
  std::unique_ptr<Probe> probe;
};

Result<probed::Records> records_of(std::span<const Attached> probes, Span span);
std::string text_of(std::span<const Attached> probes, const probed::Records& records,
                    Detail detail);

/// Sums and sizes only: what can be held against another count.
probed::Records without_details(probed::Records records);

}  // namespace ublkbench::probes

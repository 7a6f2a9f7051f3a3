// SPDX-License-Identifier: MIT
// What every probe is to the program that runs it. A probe is attached as long as it lives.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "probes/lib/hooks.hpp"
#include "probes/lib/kernel_types.hpp"
#include "probes/lib/subject.hpp"

namespace ublkbench::probes {

/// Of a measured window, which whoever drives the load tells of.
enum class Edge : std::uint8_t { begin, end };
/// What a record is of: all since the probe was attached, or what was counted between the edges.
enum class Span : std::uint8_t { attached, window };

class Probe {
 public:
  Probe() = default;
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  virtual ~Probe() = default;

  /// Keeps what is counted until now. To be short: the load goes on meanwhile.
  virtual Result<> mark(Edge edge) = 0;
  /// What was counted; see docs/probes.md for the fields. Span::window once both edges are marked.
  [[nodiscard]] virtual Result<nlohmann::json> record(Span span) const = 0;
  /// The same for people, with all histograms.
  [[nodiscard]] virtual std::string text(const nlohmann::json& record) const = 0;
  /// The same with a line a histogram.
  [[nodiscard]] virtual std::string brief(const nlohmann::json& record) const = 0;
  /// Called several times a second: what must be known before a device is removed.
  virtual void look() {}
  /// Whether nothing that was begun is still to be counted: the devices are idle.
  [[nodiscard]] virtual bool settled() const { return true; }
};

struct ProbeSetup {
  const KernelTypes& kernel;
  const Subject& subject;
  Preference preference = Preference::cheapest;
  unsigned max_tags = 65536;  ///< room for so many tags of all devices
  unsigned sample = 1;        ///< latency follows every so manieth request
};

struct ProbeKind {
  const char* name;
  const char* question;  ///< that it answers
  Result<std::unique_ptr<Probe>> (*attach)(const ProbeSetup& setup);
};

const std::vector<ProbeKind>& probe_kinds();

}  // namespace ublkbench::probes

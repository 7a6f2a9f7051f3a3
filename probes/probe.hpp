// SPDX-License-Identifier: MIT
// What every probe is to the program that runs it. A probe is attached as long as it lives.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/record/probe_document.hpp"
#include "probes/lib/hooks.hpp"
#include "probes/lib/kernel_types.hpp"
#include "probes/lib/subject.hpp"

namespace ublkbench::probes {

/// Of a measured window, which whoever drives the load tells of.
enum class Edge : std::uint8_t { begin, end };
/// What a record is of: all since the probe was attached, or what was counted between the edges.
enum class Span : std::uint8_t { attached, window };
/// With all histograms and what they were learnt from, or a line a histogram.
enum class Detail : std::uint8_t { all, brief };

class Probe {
 public:
  Probe() = default;
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;
  virtual ~Probe() = default;

  /// Keeps what is counted until now. To be short: the load goes on meanwhile.
  virtual Result<> mark(Edge edge) = 0;
  /// What was counted, into its place in the record. Span::window once both edges are marked.
  virtual Result<> record(Span span, probed::Records& into) const = 0;
  /// The same for people.
  [[nodiscard]] virtual std::string text(const probed::Records& records, Detail detail) const = 0;
  /// Called several times a second: what must be known before a device is removed.
  virtual void look() {}
  /// Whether nothing that was begun is still to be counted: the devices are idle.
  [[nodiscard]] virtual bool settled() const { return true; }
};

/// "ROLE: HOOK, HOOK (REMARK)", a line each.
std::string used_text(const probed::Attachment& attachment);
std::string unavailable_text(const probed::Attachment& attachment);

/// A probe whose record is a `Record`.
template <class Record>
class ProbeOf : public Probe {
 public:
  using Place = std::optional<Record> probed::Records::*;

  explicit ProbeOf(Place place) : place_(place) {}

  Result<> record(Span span, probed::Records& into) const final {
    auto counted = record_of(span);
    if (!counted) return std::unexpected(counted.error());
    into.*place_ = std::move(*counted);
    return {};
  }
  [[nodiscard]] std::string text(const probed::Records& records, Detail detail) const final {
    const Record& record = *(records.*place_);
    return (detail == Detail::all ? text_of(record) + used_text(record) : brief_of(record)) +
           unavailable_text(record);
  }

 protected:
  [[nodiscard]] virtual Result<Record> record_of(Span span) const = 0;
  [[nodiscard]] virtual std::string text_of(const Record& record) const = 0;
  [[nodiscard]] virtual std::string brief_of(const Record& record) const = 0;

 private:
  Place place_;
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

// SPDX-License-Identifier: MIT
// What keeps a cell of a run from being faster, from its records alone: one table of rules, each
// with the figures that it rests on, and what to try.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "analyzers/clues.hpp"

namespace ublkbench::analyzers {

struct Condition {
  Clue clue;
  enum class Sense : std::uint8_t { at_least, above, below } sense;
  double limit;
};

struct Bottleneck {
  std::string_view name;              ///< in records: "tag_starved"
  std::string_view title;             ///< for people
  std::vector<Condition> conditions;  ///< all of them hold
  std::string_view knob;
  /// Where the server is somebody else's, who has none of our options; empty: the same.
  std::string_view foreign_knob = {};
};

/// A rule that could be neither affirmed nor denied.
struct Unchecked {
  const Bottleneck* rule;
  std::vector<Clue> missing;
};

struct Diagnosis {
  Clues clues;
  std::vector<const Bottleneck*> found;
  std::vector<Unchecked> unchecked;

  /// A rule's name, "none", or "cannot_tell" where nothing was found and not all was looked at.
  [[nodiscard]] std::string_view verdict() const;
};

Diagnosis diagnose(const Clues& clues);

/// Each sample is judged by itself; the verdict is that of more samples than any other.
struct CellDiagnosis {
  std::string cell;
  std::string verdict;    ///< also "samples_disagree", "not_measured"
  Diagnosis diagnosis;    ///< of the first sample with that verdict
  std::size_t agree = 0;  ///< samples
  std::size_t judged = 0;
  /// What its probes' figures are of: "none", the "window", or in an older record all the time that
  /// they were "attached".
  std::string_view probed = "none";
  std::string reason;    ///< of not_measured
  bool foreign = false;  ///< its server is not ours

  [[nodiscard]] std::string_view knob_of(const Bottleneck& rule) const {
    return foreign && !rule.foreign_knob.empty() ? rule.foreign_knob : rule.knob;
  }
};

/// Of every cell but controls; `record` was read with its evidence.
std::vector<CellDiagnosis> diagnose(const Record& record);

std::string bottleneck_text(std::span<const CellDiagnosis> cells);
/// JSON.
std::string bottleneck_document(const Record& record, std::span<const CellDiagnosis> cells);

}  // namespace ublkbench::analyzers

// SPDX-License-Identifier: MIT
// What the path-length gate compares with: raw samples of a commit that somebody accepted, with the
// environment that they are of. A file in the repository, reviewed as a diff.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "analyzers/record.hpp"

namespace ublkbench::analyzers {

/// Figures that the gate judges, and the only ones that a baseline keeps.
inline constexpr Figure gated_figures[] = {Figure::server_instructions, Figure::load_instructions,
                                           Figure::total_instructions};

/// So many samples a cell at least, in a baseline and in what is held against it.
inline constexpr std::size_t samples_min = 3;

struct Acceptance {
  std::string commit;
  std::string at;  ///< UTC, RFC 3339
  std::string reason;
};

struct Baseline {
  std::string path;
  Acceptance accepted;
  Facts fields;                   ///< gate_fields()
  std::vector<CellRecord> cells;  ///< with the gated figures
};

/// What must be equal in all records of a gate. How many I/Os a sample is, is a cell's own: shallow
/// cells need fewer, and have a record of their own for that.
Facts gate_fields(const Record& record);

/// Brings the records of several boots together. They must be of one environment, one commit and
/// counted instructions; whatever failed in them stays visible as `failed`.
Result<std::vector<CellRecord>> pooled_cells(std::span<const Record> records);

/// Refuses records that should not become one: failed or too few samples, changes that no commit
/// has, a build with planted instructions.
Result<Baseline> make_baseline(std::span<const Record> records, Acceptance accepted);

std::string to_file_text(const Baseline& baseline);

/// Strict, as read_record() is.
Result<Baseline> read_baseline(const std::string& path);

}  // namespace ublkbench::analyzers

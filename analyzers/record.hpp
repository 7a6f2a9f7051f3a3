// SPDX-License-Identifier: MIT
// Records of `ublkbench run` as the analyzers see them: axes and figures. Reading is strict: what
// is broken, cut off or of another schema is refused with the place where it is wrong.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "analyzers/evidence.hpp"
#include "analyzers/figures.hpp"
#include "bench/base/result.hpp"
#include "bench/record/axes.hpp"
#include "bench/record/facts.hpp"
#include "bench/record/json_reader.hpp"

namespace ublkbench::analyzers {

/// Of a cell in a record, a history or a baseline. A device that is not ours may lack its mode.
Axes read_axes(JsonReader& at, const JsonReader::Object& cell);

struct SampleFigures {
  std::uint64_t round = 0;
  std::uint64_t order = 0;
  std::uint64_t elapsed_ns = 0;  ///< all of it, with the device's and server's making
  Figures figures;
  /// I/Os that its percentiles rest on; those of a history or baseline rest on enough.
  std::uint64_t latencies = std::numeric_limits<std::uint64_t>::max();

  /// For verdicts: a percentile that rests on too few I/Os is none.
  [[nodiscard]] std::optional<double> value(Figure figure) const {
    return latencies < ios_needed(figure) ? std::nullopt : figures.get(figure);
  }
};

/// What the reader of a table has to know of where the data of a cell was.
struct DataFacts {
  double least_written = 1;  ///< part of the target's files that was ever written
  bool in_memory = false;
  bool buffered = false;    ///< loaded through the page cache...
  bool found_warm = false;  ///< ...which was not emptied before each sample
};

struct CellRecord {
  std::string id;
  Axes axes;
  std::uint64_t ios = 0;               ///< of a sample, where the work is fixed
  std::vector<SampleFigures> samples;  ///< the good ones
  std::vector<Evidence> evidence;      ///< of the good ones, where it was asked for
  std::size_t failed = 0;
  std::string reason;                                  ///< of the last that failed
  std::optional<std::uint64_t> fewest_latencies = {};  ///< of a good sample; nothing: not recorded
  /// How its device's queue was set, see queue_settings.hpp; nothing: the record does not say.
  std::optional<Facts> queue = {};
  std::vector<Facts> other_queues = {};  ///< of samples that had it set otherwise
  /// What its own samples verified: "contents", "completions", "FAILED", "not (WHY)"; empty: off.
  std::string verified = {};
  DataFacts data = {};
  /// What the probes of its last good sample counted, as ublk-probe prints it: with a line a
  /// histogram, and with all of them. Where evidence was asked for.
  std::string probe_brief = {};
  std::string probe_text = {};
  bool probed_in_window = false;

  [[nodiscard]] std::vector<double> values(Figure figure) const;
  /// "none"; several, joined, if it changed; empty: its device has none to choose.
  [[nodiscard]] std::string scheduler() const;
};

struct Record {
  std::string path;
  Facts run;
  Facts env;
  std::vector<CellRecord> cells;

  /// Whether times are instruction counts (QEMU's -icount), which have no noise of time.
  [[nodiscard]] bool counts_instructions() const;
  /// Of the programs that were measured; "unknown" of a build outside of git.
  [[nodiscard]] std::string commit() const;
  /// What must be equal in two runs that are compared: see bench/record/identity.hpp.
  [[nodiscard]] Facts comparable_fields() const;
};

/// How much of each sample is kept: a record may have 50,000 of them.
enum class Detail : std::uint8_t { figures, evidence };

/// Reads a document of --json, or a folder of --out. Errors are ExitCode::usage.
Result<Record> read_record(const std::string& path, Detail detail = Detail::figures);

}  // namespace ublkbench::analyzers

// SPDX-License-Identifier: MIT
// Records of `ublkbench run` as the analyzers see them: axes and figures. Reading is strict: what
// is broken, cut off or of another schema is refused with the place where it is wrong.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "analyzers/evidence.hpp"
#include "analyzers/figures.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::analyzers {

struct Axes {
  std::string kind;  ///< "ublk", "control", "external"
  std::string mode;  ///< of a control "(null_blk)"
  std::string target;
  std::uint64_t depth = 0;
  std::uint64_t block_bytes = 0;
  std::string pattern;

  [[nodiscard]] bool is_control() const { return kind == "control"; }
  auto operator<=>(const Axes&) const = default;
};
/// Its keys in every document that holds cells: json(axes), object.get<Axes>(), which throws what
/// nlohmann's JSON throws.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Axes, kind, mode, target, depth, block_bytes, pattern)

struct Sample {
  std::uint64_t round = 0;
  std::uint64_t order = 0;
  std::uint64_t elapsed_ns = 0;  ///< all of it, with the device's and server's making
  Figures figures;
};

struct CellRecord {
  std::string id;
  Axes axes;
  std::uint64_t ios = 0;           ///< of a sample, where the work is fixed
  std::vector<Sample> samples;     ///< the good ones
  std::vector<Evidence> evidence;  ///< of the good ones, where it was asked for
  std::size_t failed = 0;
  std::string reason;  ///< of the last that failed

  [[nodiscard]] std::vector<double> values(Figure figure) const;
};

struct Record {
  std::string path;
  nlohmann::json run;
  nlohmann::json env;
  std::vector<CellRecord> cells;

  /// Whether times are instruction counts (QEMU's -icount), which have no noise of time.
  [[nodiscard]] bool counts_instructions() const;
  /// Of the programs that were measured; "unknown" of a build outside of git.
  [[nodiscard]] std::string commit() const;
  /// What must be equal in two runs that are compared: {"env.kernel.release": ..., "work.ios":
  /// ...}, the environment's key fields and the work, with dots for levels.
  [[nodiscard]] nlohmann::json comparable_fields() const;
};

/// How much of each sample is kept: a record may have 50,000 of them.
enum class Detail : std::uint8_t { figures, evidence };

/// Reads a document of --json, or a folder of --out. Errors are ExitCode::usage.
Result<Record> read_record(const std::string& path, Detail detail = Detail::figures);
/// A document that is in memory; `name` stands for its path.
Result<Record> read_record_text(const std::string& text, const std::string& name, Detail detail);

}  // namespace ublkbench::analyzers

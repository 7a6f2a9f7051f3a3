// SPDX-License-Identifier: MIT
// What `ublkbench run` will measure: the options as typed, and the matrix that they span.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/load/options.hpp"
#include "bench/record/axes.hpp"
#include "bench/server/serve_options.hpp"
#include "bench/suite/foreign_device.hpp"
#include "bench/suite/hang_dump.hpp"

namespace ublkbench {

enum class VerifyPolicy : std::uint8_t {
  automatic,  ///< on where the cell may write, see writing.hpp
  on,
  off,
};

/// Options of `run`; the vectors are the axes of the matrix.
struct RunOptions {
  std::vector<Mode> modes;
  bool every_mode = false;  ///< --mode all: modes that a target cannot serve are left out
  std::vector<std::string> targets{"null"};
  std::vector<unsigned> depths{128};
  std::vector<std::uint64_t> block_bytes{4096};
  std::vector<load::Pattern> patterns{load::Pattern::randread};
  /// One for each combination of the axes that have an option in the table of axes.
  std::vector<Axes> settings{Axes{}};

  ServeOptions server;  ///< queues, daemons, placement; mode, target and depth come from the axes
  load::LoadOptions load;  ///< the rest of the load; device, depth, size, pattern from the axes
  std::string device;      ///< a device that somebody else serves; no server is started then
  std::optional<ForeignDevice> foreign;  ///< what `device` was when the run began
  std::string control = "null_blk";      ///< "null_blk", "none" or a device
  std::string probes;  ///< "batch,latency" for ublk-probe; every cell is then measured without, too
  VerifyPolicy verify = VerifyPolicy::automatic;
  HangDumpOptions hang_dump;
  unsigned repeat = 5;
  std::uint64_t seed = 1;

  /// Hardware queues of what is measured, as far as they are known: the control has as many.
  [[nodiscard]] unsigned device_queues() const {
    return foreign ? std::max(foreign->queues, 1U) : server.queues;
  }
};

/// The data that a cell is about; what nothing is known of is the user's.
struct CellData {
  DataOwner owner = DataOwner::user;
  bool read_only = false;          ///< it cannot be written, whoever allows it
  std::vector<std::string> paths;  ///< of the files and disks that hold it; empty: none are known
};

/// One cell of the matrix: what is served and how it is loaded.
struct Cell {
  enum class Kind : std::uint8_t { ublk, control, external };
  Kind kind = Kind::ublk;
  Mode mode;           ///< ublk only
  std::string target;  ///< ublk: target spec; else the device or "null_blk"
  unsigned depth = 0;
  std::uint64_t block_bytes = 0;
  load::Pattern pattern = load::Pattern::randread;
  std::string probes;  ///< attached meanwhile; empty: none
  Axes setting = {};   ///< where it stands on the axes that have an option in the table of axes
  CellData data = {};

  [[nodiscard]] Axes axes() const;
  /// "none", "keep" or a scheduler's name.
  [[nodiscard]] std::string scheduler() const;
  /// Unique in a plan, and its name for people.
  [[nodiscard]] std::string name() const;
  /// "batch,auto_zc", "(null_blk)", "(/dev/sdX)".
  [[nodiscard]] std::string mode_name() const;
  /// As a record has it: JSON.
  [[nodiscard]] std::string document() const;
};

struct Plan {
  std::vector<Cell> cells;
  /// Rounds of indices into `cells`: every round has each cell once, in a shuffled order.
  std::vector<std::vector<std::size_t>> rounds;

  /// What --mode all would have measured and the target cannot serve, with the reason.
  std::map<std::string, std::string> left_out;

  [[nodiscard]] std::size_t samples() const { return cells.size() * rounds.size(); }
};

/// Checks the options against each other and the driver's limits, then builds the matrix. The same
/// options and seed give the same plan.
Result<Plan> make_plan(const RunOptions& options);

/// Whether the load may register its buffers under this process's locked-memory limit.
Result<> check_locked_memory(const RunOptions& options);

/// Opens every target, or the device, once: what cannot be served or loaded is said before anything
/// is measured. Nothing is written.
Result<> check_targets(const RunOptions& options);

/// Server and load of one cell.
ServeOptions serve_options(const RunOptions& options, const Cell& cell);
load::LoadOptions load_options(const RunOptions& options, const Cell& cell,
                               const std::string& device);

}  // namespace ublkbench

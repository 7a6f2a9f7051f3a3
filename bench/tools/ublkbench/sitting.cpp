// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/sitting.hpp"

#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <utility>

#include "analyzers/hardware_gate.hpp"
#include "analyzers/queue_settings.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/program.hpp"
#include "bench/tools/ublkbench/progress.hpp"
#include "bench/tools/ublkbench/sitting_words.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;
namespace fs = std::filesystem;

constexpr std::uint64_t ios_min = 1'000;
/// A sample's bound: a PROGRAM may boot a guest first. A hang is found by `run` long before.
constexpr std::uint64_t patience_ns = 1'200'000'000'000;
/// An interrupted `run` removes its devices.
constexpr std::uint64_t grace_ns = 15'000'000'000;

/// Records of a sitting: in the user's folder, or in one that goes with the sitting.
class Folder {
 public:
  static Result<Folder> open(const std::string& wanted) {
    std::error_code error;
    if (!wanted.empty()) {
      fs::create_directories(wanted, error);
      if (error)
        return std::unexpected(
            failed("mkdir", wanted, error.value()).error().with_exit(ExitCode::usage));
      return Folder(wanted, false);
    }
    std::string path = (fs::temp_directory_path(error) / "ublkbench-gate.XXXXXX").string();
    if (error || ::mkdtemp(path.data()) == nullptr) return failed("mkdtemp", path, errno);
    return Folder(path, true);
  }
  Folder(Folder&& other) noexcept
      : path_(std::exchange(other.path_, {})), temporary_(other.temporary_) {}
  Folder& operator=(Folder&&) = delete;
  ~Folder() {
    std::error_code error;
    if (temporary_ && !path_.empty()) fs::remove_all(path_, error);
  }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + '/' + name; }

 private:
  Folder(std::string path, bool temporary) : path_(std::move(path)), temporary_(temporary) {}
  std::string path_;
  bool temporary_;
};

std::string last_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  const auto newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

/// Three digits are enough to say how much work a sample is.
std::uint64_t rounded_ios(double ios) {
  const double unit = std::pow(10.0, std::max(0.0, std::floor(std::log10(std::max(ios, 1.0))) - 2));
  return std::max(ios_min, static_cast<std::uint64_t>(std::round(ios / unit) * unit));
}

/// The kind of load that a control is for.
std::string load_kind(const Axes& axes) {
  std::string text;
  for (const Axis& axis : all_axes())
    if (axis.is_load) text += axis.text(axes) + ' ';
  return text;
}

class Sitting {
 public:
  Sitting(const SittingOptions& options, SittingWords words, Folder folder)
      : options_(options), words_(std::move(words)), folder_(std::move(folder)) {
    outcome_.kind = GateKind::hardware;
    outcome_.before.what = options.before.program;
    outcome_.now.what = options.now.program;
    outcome_.rule = hardware_rule(Figure::ns_per_io, options.gate.change);
  }

  Result<GateOutcome> hold() {
    if (auto ready = prepare(); !ready) return std::unexpected(ready.error());
    if (outcome_.verdict != GateVerdict::pass) return outcome_;
    if (auto done = measure(all_cells(), options_.pairs); !done)
      return std::unexpected(done.error());
    if (const auto wide = cells_where(
            [this](const std::vector<GateRow>& rows) { return is_too_wide(rows, options_.gate); });
        !wide.empty())
      if (auto done = measure(wide, options_.pairs); !done) return std::unexpected(done.error());
    if (auto done = confirm(); !done) return std::unexpected(done.error());
    if (const auto why = disturbed(*first_, *last_)) outcome_.inconclusive(*why);
    for (const std::string& failure : failures_) outcome_.inconclusive(failure);
    outcome_.pairs = options_.pairs;
    conclude(outcome_, options_.gate);
    return outcome_;
  }

 private:
  enum Side : std::uint8_t { before, now };
  static constexpr const char* side_names[] = {"before", "now"};

  struct Work {
    PairedCell samples;
    std::string with_control;  ///< of this control cell; empty: another cell brings it
  };

  [[nodiscard]] const SittingSide& side(Side which) const {
    return which == before ? options_.before : options_.now;
  }

  /// Both sides once, for a second a cell: whether they work and keep data, on what machine, and
  /// how many I/Os a sample is.
  Result<> prepare() {
    for (const Side which : {before, now}) {
      std::vector<std::string> words = words_.matrix;
      // The stand-in's matrix is the other side's, once its cells are known.
      if (!side(which).target.empty()) words = {"--target", side(which).target};
      words.insert(words.end(), {"--runtime", formatted("{}us", options_.sample_ns / 1000),
                                 "--control", words_.control, "--verify", words_.verify});
      auto record = run(which, words, formatted("calibration-{}.json", side_names[which]));
      if (!record) return std::unexpected(record.error());
      (which == before ? outcome_.before : outcome_.now).commit = record->commit();
      fields_[which] = record->comparable_fields();
      cells_[which] = record->cells;
      if (which == before) plan(*record);
    }
    for (const std::string& why : unfit(*first_)) outcome_.inconclusive(why);
    std::vector<std::string> vary = options_.gate.vary;
    auto unlike = differences(fields_[before], fields_[now], vary);
    std::ranges::move(compare_queues(cells_[before], cells_[now], vary).unlike,
                      std::back_inserter(unlike));
    if (!unlike.empty())
      outcome_.not_comparable("the two sides run in different environments", std::move(unlike));
    return {};
  }

  void plan(const Record& record) {
    std::set<std::string> kinds;
    for (const CellRecord& cell : record.cells) {
      if (cell.axes.is_control()) continue;
      const auto iops = cell.values(Figure::iops);
      if (iops.empty()) {
        outcome_.inconclusive(
            formatted("{} failed while it was calibrated: {}", cell.id, cell.reason));
        continue;
      }
      const double ios = iops.front() * static_cast<double>(options_.sample_ns) / 1e9;
      Work work{.samples = {.before = emptied(cell), .now = emptied(cell), .ios = rounded_ios(ios)},
                .with_control = {}};
      if (kinds.insert(load_kind(cell.axes)).second) work.with_control = words_.control;
      works_.push_back(std::move(work));
    }
  }

  static CellRecord emptied(const CellRecord& cell) {
    return {.id = cell.id, .axes = cell.axes, .samples = {}, .reason = {}};
  }

  [[nodiscard]] std::vector<std::size_t> all_cells() const {
    std::vector<std::size_t> all(works_.size());
    for (std::size_t at = 0; at < all.size(); ++at) all[at] = at;
    return all;
  }

  template <class Predicate>
  std::vector<std::size_t> cells_where(Predicate&& holds) const {
    std::vector<std::size_t> found;
    for (std::size_t at = 0; at < works_.size(); ++at)
      if (holds(judge_pairs(works_[at].samples, options_.gate))) found.push_back(at);
    return found;
  }

  /// A B, B A, A B...: what drifts meets both sides alike. Cells take turns in a shuffled order.
  Result<> measure(const std::vector<std::size_t>& cells, unsigned pairs) {
    Progress progress(std::size_t{2} * pairs * cells.size(), 2 * options_.sample_ns);
    std::vector<std::size_t> order = cells;
    std::mt19937_64 random(options_.seed + pair_);
    std::size_t step = 0;
    for (unsigned round = 0; round < pairs; ++round, ++pair_) {
      for (std::size_t last = order.size(); last > 1; --last)
        std::swap(order[last - 1], order[random() % last]);
      for (const std::size_t at : order)
        for (const Side which :
             pair_ % 2 == 0 ? std::array{before, now} : std::array{now, before}) {
          progress.begin(++step, formatted("pair {} {} {}", pair_ + 1, side_names[which],
                                           works_[at].samples.before.id));
          auto sampled = sample(at, which);
          if (!sampled) return std::unexpected(sampled.error());
          progress.end(*sampled);
        }
    }
    return {};
  }

  /// One fresh device, one fresh server; returns what it measured for people.
  Result<std::string> sample(std::size_t at, Side which) {
    Work& work = works_[at];
    const Axes& axes = work.samples.before.axes;
    const std::string& alias = side(which).target;
    std::vector<std::string> words =
        SittingWords::of_cell(axes, alias.empty() ? axes.target : alias);
    words.insert(words.end(),
                 {"--ios", std::to_string(work.samples.ios), "--verify", "off", "--control",
                  work.with_control.empty() ? "none" : work.with_control});
    const auto record =
        run(which, words, formatted("pair{}-cell{}-{}.json", pair_ + 1, at, side_names[which]));
    if (!record) {
      if (record.error().exit == ExitCode::interrupted) return std::unexpected(record.error());
      failures_.insert(record.error().message());
      return "failed: " + record.error().message();
    }
    if (const auto moved = differences(fields_[which], record->comparable_fields(),
                                       std::vector<std::string>{"work"});
        !moved.empty())
      failures_.insert("the machine changed during the sitting:\n" + to_text(moved));
    return take(*record, work, which);
  }

  std::string take(const Record& record, Work& work, Side which) {
    std::string told = "no sample";
    for (const CellRecord& cell : record.cells) {
      PairedCell& into = cell.axes.is_control() ? control(cell, work.samples.ios) : work.samples;
      CellRecord& samples = which == before ? into.before : into.now;
      if (!samples.queue) samples.queue = cell.queue;
      if (const auto moved = queue_differences(samples.queue, cell.queue); !moved.empty())
        failures_.insert(formatted("the queue of {} was set otherwise during the sitting:\n{}",
                                   cell.id, to_text(moved)));
      samples.samples.insert(samples.samples.end(), cell.samples.begin(), cell.samples.end());
      if (cell.failed != 0)
        failures_.insert(
            formatted("{} of '{}' failed: {}", cell.id, side_names[which], cell.reason));
      if (!cell.axes.is_control() && !cell.samples.empty())
        told = format_ns(*cell.samples.back().figures.get(Figure::ns_per_io)) + " an I/O";
    }
    return told;
  }

  PairedCell& control(const CellRecord& cell, std::uint64_t ios) {
    return controls_
        .try_emplace(cell.id, PairedCell{.before = emptied(cell), .now = emptied(cell), .ios = ios})
        .first->second;
  }

  /// A second look at what looks slower, with fresh pairs only; in 48 quiet cells one looks slower
  /// by chance often enough.
  Result<> confirm() {
    const std::vector<std::size_t> flagged = cells_where(is_flagged);
    std::map<std::size_t, std::vector<GateRow>> first;
    for (const std::size_t at : all_cells())
      first[at] = judge_pairs(works_[at].samples, options_.gate);
    for (const std::size_t at : flagged) {
      works_[at].samples.before.samples.clear();
      works_[at].samples.now.samples.clear();
      works_[at].with_control = words_.control;
    }
    if (!flagged.empty())
      if (auto done = measure(flagged, options_.pairs); !done) return done;
    for (const std::size_t at : all_cells()) {
      std::vector<GateRow> rows = judge_pairs(works_[at].samples, options_.gate);
      for (GateRow& row : rows) settle(row, first[at]);
      outcome_.rows.insert(outcome_.rows.end(), rows.begin(), rows.end());
    }
    for (const auto& [id, cell] : controls_) {
      const auto rows = judge_pairs(cell, options_.gate);
      outcome_.rows.insert(outcome_.rows.end(), rows.begin(), rows.end());
    }
    return {};
  }

  /// Only what was worse before the fresh pairs can be worse now.
  static void settle(GateRow& row, const std::vector<GateRow>& first) {
    const auto before = std::ranges::find(first, row.figure, &GateRow::figure);
    if (before == first.end() || !row.gated) return;
    if (before->judgement.verdict == Verdict::worse)
      row.flagged = before->judgement;
    else
      row.judgement = before->judgement;
  }

  Result<Record> run(Side which, const std::vector<std::string>& words, const std::string& name) {
    const std::string path = folder_.file(name);
    std::error_code gone;
    fs::remove(path, gone);
    std::vector<std::string> argv{side(which).program, "run"};
    argv.insert(argv.end(), words_.common.begin(), words_.common.end());
    argv.insert(argv.end(), words.begin(), words.end());
    argv.insert(argv.end(), {"--repeat", "1", "--seed", std::to_string(options_.seed + pair_),
                             "--format", "csv", "--json", path});
    const auto done = process::run_program(argv, patience_ns, grace_ns);
    if (process::interrupted() || (done && done->exit_code == 130))
      return std::unexpected(Error{.operation = "interrupted",
                                   .object = {},
                                   .errnum = 0,
                                   .hint = {},
                                   .exit = ExitCode::interrupted});
    if (!done) return std::unexpected(done.error());
    // A sample that failed is in the record; without one, what the program said is all there is.
    if (!fs::exists(path)) return std::unexpected(no_record(argv[0], *done));
    auto record = read_record(path);
    if (!record) return record;
    if (!side(which).target.empty()) rename_target(*record, side(which));
    if (!first_) first_ = *record;
    last_ = *record;
    return record;
  }

  static Error no_record(const std::string& program, const process::ProgramOutput& output) {
    const bool cannot = output.exit_code == static_cast<int>(ExitCode::environment);
    return {.operation = formatted("'{} run' left no record (exit {}): {}", program,
                                   output.exit_code, last_line(output.err)),
            .object = {},
            .errnum = 0,
            .hint = {},
            .exit = cannot ? ExitCode::environment : ExitCode::usage};
  }

  static void rename_target(Record& record, const SittingSide& side) {
    for (CellRecord& cell : record.cells) {
      if (cell.axes.target != side.target) continue;
      cell.axes.target = side.instead_of_target;
      cell.id.replace(cell.id.find(side.target), side.target.size(), side.instead_of_target);
    }
  }

  const SittingOptions& options_;
  SittingWords words_;
  Folder folder_;
  GateOutcome outcome_;
  Facts fields_[2];
  std::vector<CellRecord> cells_[2];  ///< of the calibration
  std::vector<Work> works_;
  std::map<std::string, PairedCell> controls_;
  std::set<std::string> failures_;
  std::optional<Record> first_;
  std::optional<Record> last_;
  unsigned pair_ = 0;
};

}  // namespace

Result<GateOutcome> hold_sitting(const SittingOptions& options) {
  auto words = SittingWords::parse(options.words);
  if (!words) return std::unexpected(words.error());
  auto folder = Folder::open(options.folder);
  if (!folder) return std::unexpected(folder.error());
  return Sitting(options, std::move(*words), std::move(*folder)).hold();
}

}  // namespace ublkbench

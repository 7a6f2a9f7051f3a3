// SPDX-License-Identifier: MIT
#include "analyzers/gate_outcome.hpp"

#include <algorithm>
#include <cmath>

#include "analyzers/compare.hpp"
#include "bench/base/format.hpp"

namespace ublkbench::analyzers {
namespace {

class Conclusion {
 public:
  Conclusion(GateOutcome& outcome, const GateOptions& options)
      : outcome_(outcome), options_(options) {}

  void draw() {
    const bool control_moved = check_controls();
    std::size_t compared = 0;
    for (GateRow& row : outcome_.rows) {
      if (row.is_control || !row.gated) continue;
      if (row.judgement.verdict == Verdict::unmeasurable)
        outcome_.inconclusive(formatted("{}: {} is unmeasurable: {}", row.cell,
                                        traits(row.figure).name, row.judgement.why));
      else
        ++compared;
      if (row.judgement.verdict == Verdict::worse) regressed(row, control_moved);
    }
    if (compared == 0) outcome_.inconclusive("no cell was compared");
  }

 private:
  /// The control runs no line of the server: if it moved, the load generator, the block layer or
  /// the machine is another.
  bool check_controls() {
    bool moved = false;
    bool alive = false;
    for (const GateRow& row : outcome_.rows) {
      if (!row.is_control || !row.judgement.ratio) continue;
      alive = true;
      if (std::abs(std::log(*row.judgement.ratio)) <=
          std::log1p(control_limit(outcome_.rule.counted)))
        continue;
      outcome_.inconclusive(formatted("the control moved: {} of {} is {:.4f} of the other side's",
                                      traits(row.figure).name, row.cell, *row.judgement.ratio));
      moved = true;
    }
    if (!alive)
      outcome_.inconclusive(
          "no control was measured on both sides, which tells another machine from another server");
    return moved;
  }

  void regressed(GateRow& row, bool control_moved) {
    const auto why_not =
        objection(options_.waivers, row.cell, row.figure, *row.judgement.ratio, options_.today);
    row.waived = why_not && why_not->empty();
    row.waiver = row.waived ? "waived" : why_not.value_or("");
    if (row.waived) return;
    const std::string what =
        formatted("{}: {} {:+.2f} %{}{}", row.cell, traits(row.figure).name,
                  100 * (*row.judgement.ratio - 1), row.waiver.empty() ? "" : "; ", row.waiver);
    if (control_moved) return outcome_.inconclusive(what + ", but so did the control");
    if (outcome_.verdict != GateVerdict::regression) outcome_.reasons.clear();
    outcome_.verdict = GateVerdict::regression;
    outcome_.reasons.push_back(what);
  }

  GateOutcome& outcome_;
  const GateOptions& options_;
};

}  // namespace

std::string_view name_of(GateKind kind) {
  return kind == GateKind::path_length ? "path length" : "hardware";
}

std::string_view name_of(GateVerdict verdict) {
  constexpr std::string_view names[] = {"pass", "regression", "inconclusive", "not comparable"};
  return names[static_cast<int>(verdict)];
}

ExitCode exit_of(GateVerdict verdict) {
  constexpr ExitCode codes[] = {ExitCode::ok, ExitCode::regression, ExitCode::inconclusive,
                                ExitCode::not_comparable};
  return codes[static_cast<int>(verdict)];
}

void GateOutcome::inconclusive(std::string why) {
  if (verdict == GateVerdict::regression) return;
  verdict = GateVerdict::inconclusive;
  reasons.push_back(std::move(why));
}

void GateOutcome::not_comparable(std::string why, std::vector<FieldDifference> fields) {
  verdict = GateVerdict::not_comparable;
  reasons = {std::move(why)};
  unlike = std::move(fields);
}

void conclude(GateOutcome& outcome, const GateOptions& options) {
  Conclusion(outcome, options).draw();
}

bool only_environment_moved(const GateOutcome& outcome) {
  // What the tree leaves to the kernel is the kernel's where that is another.
  const bool other_kernel =
      std::ranges::contains(outcome.unlike, "env.kernel.release", &FieldDifference::field);
  return outcome.verdict == GateVerdict::not_comparable &&
         std::ranges::all_of(outcome.unlike, [&](const FieldDifference& difference) {
           const std::string& field = difference.field;
           if (field.starts_with("queue.")) return other_kernel && field != "queue.scheduler";
           return field.starts_with("env.") && field != "env.build.flags" &&
                  field != "env.build.build_type" && field != "env.kernel.cmdline" &&
                  field != "env.machine.qemu_cpu" && field != "env.machine.icount_shift";
         });
}

}  // namespace ublkbench::analyzers

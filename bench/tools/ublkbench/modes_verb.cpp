// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/modes_verb.hpp"

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/control/control.hpp"
#include "bench/control/features.hpp"
#include "bench/server/mode.hpp"
#include "bench/tools/ublkbench/output.hpp"

namespace ublkbench {
namespace {

enum class Status { granted, refused, not_granted, not_served };

struct Row {
  Mode mode;
  Status status;
  std::string why;
};

constexpr std::string_view status_words[] = {"granted", "refused", "not granted", "not served"};

Row judge(const Mode& mode, const control::KernelAbilities& kernel) {
  if (const auto why = refusal(mode)) return {mode, Status::refused, *why};
  if (const std::string why = missing(mode, kernel); !why.empty())
    return {mode, Status::not_granted, why};
  if (const auto why = unserved(mode)) return {mode, Status::not_served, *why};
  return {mode, Status::granted, {}};
}

std::vector<Row> judge_all(const control::KernelAbilities& kernel) {
  std::vector<Row> rows;
  for (const Mode& mode : all_modes()) rows.push_back(judge(mode, kernel));
  return rows;
}

void print_row(const Row& row) {
  print_line("  {:<34} {:<12} {}", row.mode.name(), status_words[static_cast<int>(row.status)],
             row.status == Status::granted ? feature_names(row.mode.flags()) : row.why);
}

/// Combinations of the axes beyond buffer and delivery, by reason, so that the table stays short.
void print_grouped(const std::vector<Row>& rows) {
  std::map<std::string, unsigned> reasons;
  unsigned usable = 0;
  for (const Row& row : rows) {
    if (row.mode.plain()) continue;
    if (row.status == Status::granted)
      ++usable;
    else
      ++reasons[formatted("{}: {}", status_words[static_cast<int>(row.status)], row.why)];
  }
  print_line("\nWith iopoll, iopoll_split, per_io_daemon or offload: {} combinations granted",
             usable);
  for (const auto& [reason, count] : reasons) print_line("  {:>3} {}", count, reason);
  print_line("\n'ublkbench modes --all' lists every combination.");
}

int print_json(const std::vector<Row>& rows, std::uint64_t features) {
  nlohmann::json list = nlohmann::json::array();
  for (const Row& row : rows)
    list.push_back({{"mode", row.mode.name()},
                    {"status", status_words[static_cast<int>(row.status)]},
                    {"why", row.why},
                    {"flags", feature_list(row.mode.flags())}});
  print_line("{}", json_text({{"schema", "ublkbench.modes/1"},
                              {"features_granted", feature_list(features)},
                              {"modes", list}},
                             2));
  return 0;
}

}  // namespace

int run_modes(bool all, bool json) {
  const auto features = control::features();
  if (!features) return report(features.error());
  const std::vector<Row> rows = judge_all(control::abilities());
  if (json) return print_json(rows, *features);
  print_line(
      "Modes on this kernel (words joined by commas; '-' and '_' are the same;\n"
      "auto_reg and auto_buf_reg mean auto_zc, zero_copy means zc):\n");
  for (const Row& row : rows) {
    if (all || row.mode.plain()) print_row(row);
  }
  if (!all) print_grouped(rows);
  return 0;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/explain_verb.hpp"

#include <algorithm>

#include "analyzers/bottleneck.hpp"
#include "analyzers/filter.hpp"
#include "bench/tools/ublkbench/output.hpp"

namespace ublkbench {

using namespace analyzers;

void ExplainVerb::add_options(CLI::App& app) {
  app.add_option("record", record_, "A record (--json FILE or --out DIR)")
      ->type_name("RECORD")
      ->required();
  app.add_option("--filter", filter_, "AXIS=VALUE[|VALUE...] joined by commas")
      ->type_name("FILTER");
  app.add_flag("--json", json_, "As JSON");
  app.footer(
      "Each verdict comes with the figures that it rests on, their limits, and what to try; "
      "docs/probes.md\nhas the rules. What the records cannot tell is said, with the probes that "
      "would.\n\n"
      "Examples:\n"
      "  ublkbench --mode copy --probe batch,latency,wakeups,tags --json run.json\n"
      "  ublkbench explain run.json\n\n"
      "Exit codes: 0 done, whatever the verdicts; 2 bad input.");
}

int ExplainVerb::run() const {
  const auto filter = Filter::parse(filter_);
  if (!filter) return report(filter.error());
  auto record = read_record(record_, Detail::evidence);
  if (!record) return report(record.error());
  std::erase_if(record->cells,
                [&](const CellRecord& cell) { return !filter->passes(cell.axes, record->path); });
  const std::vector<CellDiagnosis> cells = diagnose(*record);
  if (cells.empty())
    return report(bad_input("explain " + record_, "no cell is left to explain").error());
  return print(json_ ? bottleneck_document(*record, cells) : bottleneck_text(cells));
}

std::string explain_probed(Record record) {
  std::erase_if(record.cells, [](const CellRecord& cell) { return cell.axes.probes.empty(); });
  if (record.cells.empty()) return {};
  return "\nWhat limits it, with the probes attached:\n" + bottleneck_text(diagnose(record));
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/calibrate_verb.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "analyzers/calibrate.hpp"
#include "bench/base/fd.hpp"
#include "bench/tools/ublkbench/figures.hpp"
#include "bench/tools/ublkbench/output.hpp"
#include "bench/tools/ublkbench/run_verb.hpp"

namespace ublkbench {
namespace {

using namespace analyzers;

constexpr unsigned default_rounds = 20;

/// A record that nobody asked to keep.
class TemporaryRecord {
 public:
  TemporaryRecord() {
    std::error_code error;
    const auto folder = std::filesystem::temp_directory_path(error);
    path_ = (error ? "/tmp" : folder.string()) + "/ublkbench-calibrate.XXXXXX";
    const Fd made(::mkstemp(path_.data()));
  }
  TemporaryRecord(const TemporaryRecord&) = delete;
  TemporaryRecord& operator=(const TemporaryRecord&) = delete;
  ~TemporaryRecord() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

void CalibrateVerb::add_options(CLI::App& app) {
  app_ = &app;
  cli_.set_rounds(default_rounds);
  cli_.add_options(app);
  app.add_option("--record", record_, "Judge the samples of this record; measure nothing")
      ->type_name("RECORD")
      ->group("Calibration");
  app.add_option("--figure", figure_,
                 known_figures() + " (default: ns_per_io, icount: total_instructions)")
      ->type_name("FIGURE")
      ->group("Calibration");
  app.footer(
      "Takes the options of 'run' (with --repeat 20), since noise is one of a cell and not of a\n"
      "machine. --json keeps the record, --format json prints the result as JSON.\n\n"
      "Examples:\n"
      "  ublkbench calibrate --mode copy --mode batch --qd 1,128 --runtime 1s\n"
      "  ublkbench calibrate --record run.json --format json\n\n"
      "Exit codes: those of 'run'.");
}

int CalibrateVerb::run(const std::vector<std::string>& argv) const {
  auto request = cli_.request();
  if (!request) return report(request.error());
  const bool as_json = request->table.format == TableFormat::record;
  if (!as_json && request->table.format != TableFormat::text)
    return report(bad_input("calibrate has no such --format", "use text or json").error());
  if (!figure_.empty())
    if (const auto figure = parse_figure(figure_); !figure) return report(figure.error());
  if (!record_.empty()) {
    if (auto checked = check_words_of_judging(); !checked) return report(checked.error());
    return judge(record_, as_json);
  }
  const TemporaryRecord temporary;
  StoreOptions& store = request->store;
  if (store.json_path == "-") return report(bad_input("--json -", "name a file").error());
  if (store.json_path.empty() && store.folder.empty()) store.json_path = temporary.path();
  const std::string path = store.folder.empty() ? store.json_path : store.folder;
  return run_matrix(std::move(*request), argv,
                    [&](const RunRequest&, const Store&) { return judge(path, as_json); });
}

/// --record measures nothing: what says how to measure does nothing.
Result<> CalibrateVerb::check_words_of_judging() const {
  for (const CLI::Option* const option : app_->get_options()) {
    const std::string name = option->get_name();
    if (option->count() == 0 || name == "--record" || name == "--figure" || name == "--format")
      continue;
    return bad_input(name + " does nothing here: --record measures nothing", "leave it out");
  }
  return {};
}

int CalibrateVerb::judge(const std::string& path, bool as_json) const {
  const auto record = read_record(path);
  if (!record) return report(record.error());
  const auto figure =
      figure_.empty() ? Result<Figure>(record->counts_instructions() ? Figure::total_instructions
                                                                     : Figure::ns_per_io)
                      : parse_figure(figure_);
  if (!figure) return report(figure.error());
  const auto calibration = calibrate(*record, *figure);
  if (!calibration) return report(calibration.error());
  return print(as_json ? calibration_document(*calibration) : calibration_text(*calibration));
}

}  // namespace ublkbench

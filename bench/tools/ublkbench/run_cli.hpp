// SPDX-License-Identifier: MIT
// Command line of `ublkbench run`.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "analyzers/run_table.hpp"
#include "bench/suite/plan.hpp"
#include "bench/suite/store.hpp"
#include "bench/tools/options/load_cli.hpp"

namespace ublkbench {

/// What `run` was asked for, parsed.
struct RunRequest {
  RunOptions options;
  StoreOptions store;
  analyzers::RunTableOptions table;
  bool dry_run = false;
};

class RunCli {
 public:
  void add_options(CLI::App& app);
  /// Another default of --repeat; before add_options().
  void set_rounds(unsigned rounds) { values_.repeat = rounds; }
  /// The options as typed; the first bad word gives an error.
  [[nodiscard]] Result<RunRequest> request() const;

 private:
  void add_matrix(CLI::App& app);
  void add_load(CLI::App& app);
  void add_server(CLI::App& app);
  void add_output(CLI::App& app);
  [[nodiscard]] Result<> parse_axes(RunRequest& request) const;
  [[nodiscard]] Result<> parse_rest(RunRequest& request) const;

  const CLI::App* app_ = nullptr;  ///< knows what was typed
  RunOptions values_;
  LoadCli load_;
  StoreOptions store_;
  std::vector<std::string> modes_{"copy"};
  std::string depths_ = "128";
  std::string sizes_ = "4k";
  std::string patterns_ = "randread";
  std::map<std::string_view, std::string> settings_;  ///< by axis, of those with an option
  std::string max_io_ = "1M";
  std::string server_cpus_ = "queue";
  std::string verify_ = "auto";
  std::string hang_dump_timeout_ = "2m";
  std::string format_ = "text";
  bool histograms_ = false;
  bool wide_ = false;
  bool dry_run_ = false;
};

}  // namespace ublkbench

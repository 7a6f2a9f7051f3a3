// SPDX-License-Identifier: MIT
// Options of the load: the same words, with the same meaning, in ublkbench and ublk-load.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "bench/base/result.hpp"
#include "bench/load/options.hpp"

namespace ublkbench {

class LoadCli {
 public:
  /// `load` has the defaults, and gets what is typed. `work` is what is done without --ios and
  /// --runtime; `destructive` says what that word allows.
  void add_options(CLI::App& app, load::LoadOptions& load, const std::string& work,
                   const std::string& destructive);
  /// After parsing: puts into `load` what is not taken as it is typed; the first bad word gives an
  /// error. Where no work was asked for it is `default_ios`; with 0 neither ios nor runtime_ns is
  /// set.
  Result<> finish(load::LoadOptions& load, std::uint64_t default_ios) const;

 private:
  void add_work(CLI::App& app, const std::string& work);
  static void add_io_path(CLI::App& app, load::LoadOptions& load);

  const CLI::App* app_ = nullptr;  ///< knows what was typed
  std::string ios_;
  std::string runtime_;
  std::string warmup_;
  std::string rate_;
  std::string cpus_;
  std::string hang_timeout_ = "30s";
};

}  // namespace ublkbench

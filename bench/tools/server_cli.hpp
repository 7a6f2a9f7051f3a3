// SPDX-License-Identifier: MIT
// Options that describe a device and its server, for ublk-server add.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "bench/server/serve_options.hpp"

namespace ublkbench {

class ServerCli {
 public:
  void add_options(CLI::App& app);
  /// The options as typed; bad words give an error.
  [[nodiscard]] Result<ServeOptions> options() const;
  /// What was typed, one word an option, for parsing it again.
  [[nodiscard]] std::vector<std::string> words() const;

 private:
  ServeOptions values_;
  std::string mode_ = "copy";
  std::string max_io_ = "1M";
  std::string cpus_ = "queue";
  std::string shared_memory_ = "64M";
  bool no_partition_scan_ = false;
  std::vector<CLI::Option*> remembered_;
};

/// How daemons wait and fetch: the options that `ublkbench run` has too.
void add_waiting_options(CLI::App& app, ServeOptions& options,
                         const std::string& group = "Options");

/// "0-3,7" as {0, 1, 2, 3, 7}.
Result<std::vector<int>> parse_cpu_list(const std::string& text);

/// "queue", "free" or a CPU list, into the options.
Result<> parse_pinning(const std::string& text, ServeOptions& options);

}  // namespace ublkbench

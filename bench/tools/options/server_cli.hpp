// SPDX-License-Identifier: MIT
// Options that describe a device and its server, for ublk-server add.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "bench/server/serve_options.hpp"

namespace ublkbench {

class ServerCli {
 public:
  /// Whether a bare word is the device's number: of verbs for a device that is there.
  enum class BareWord : std::uint8_t { refused, device };
  void add_options(CLI::App& app, BareWord word = BareWord::refused);
  /// The options as typed; bad words give an error.
  [[nodiscard]] Result<ServeOptions> options() const;
  /// The same, where these are all words that there are of the device: those that do nothing are
  /// refused.
  [[nodiscard]] Result<ServeOptions> options_of_all_words() const;
  /// What was typed, one word an option, for parsing it again.
  [[nodiscard]] std::vector<std::string> words() const;

 private:
  [[nodiscard]] Result<> check_words(const ServeOptions& options) const;

  const CLI::App* app_ = nullptr;  ///< knows what was typed
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

/// "queue", "free" or a CPU list, into the options.
Result<> parse_pinning(const std::string& text, ServeOptions& options);

}  // namespace ublkbench

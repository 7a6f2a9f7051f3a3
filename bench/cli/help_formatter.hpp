// SPDX-License-Identifier: MIT
// How all programs print --help: CLI11's layout, without what only CLI11's authors can read (lists
// of validators, values of enumerations, brackets within brackets), and no line beyond 100 columns.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace ublkbench {

/// What kind of value it takes, as --help names it: "SIZE", "fail|warn", "N". Empty: a flag.
std::string value_type(const CLI::Option& option);

class HelpFormatter final : public CLI::Formatter {
 public:
  [[nodiscard]] std::string make_option_name(const CLI::Option* option,
                                             bool is_positional) const override;
  [[nodiscard]] std::string make_option_opts(const CLI::Option* option) const override;
  [[nodiscard]] std::string make_option_desc(const CLI::Option* option) const override;
  [[nodiscard]] std::string make_subcommand(const CLI::App* verb) const override;

 private:
  [[nodiscard]] std::string wrapped(const std::string& text) const;
};

/// For verbs that remember what another verb was given: a default would be a wrong promise.
void hide_defaults(CLI::App& app);

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// A program's command line as JSON, of which scripts/make_manual.py makes its man page and its
// completions: they say what --help says, as there is nothing else to make them of.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <string>
#include <vector>

namespace ublkbench {

/// The words that a kind of value has, by its name in --help: {"PROBE", {"batch", "latency"}}.
/// "mem:SIZE" is the word "mem:", behind which something must follow.
using Vocabulary = std::map<std::string, std::vector<std::string>>;

/// Adds a hidden --print-options, which ends the program as --version does. `default_verb` is the
/// verb that options without one are of.
void add_print_options(CLI::App& app, Vocabulary vocabulary, const std::string& default_verb = {});

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/cli/print_options.hpp"

#include <nlohmann/json.hpp>
#include <utility>

#include "bench/base/json_text.hpp"
#include "bench/cli/help_formatter.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

json described(const CLI::Option& option, bool is_positional) {
  const HelpFormatter help;
  return {{"name", help.make_option_name(&option, is_positional)},
          {"value", help.make_option_opts(&option)},
          {"help", option.get_description()},
          {"group", option.get_group()},
          {"type", value_type(option)},
          {"may_be_alone", option.get_expected_min() == 0}};
}

json described(const CLI::App& verb, const std::string& path) {
  json positionals = json::array();
  json options = json::array();
  json verbs = json::array();
  for (const CLI::Option* const option : verb.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->get_positional()) positionals.push_back(described(*option, true));
    if (option->nonpositional()) options.push_back(described(*option, false));
  }
  for (const CLI::App* const below : verb.get_subcommands([](const CLI::App*) { return true; }))
    verbs.push_back(described(*below, path + ' ' + below->get_name()));
  return {{"name", verb.get_name()},
          {"what", verb.get_description()},
          {"usage", HelpFormatter().make_usage(&verb, path)},
          {"footer", verb.get_footer()},
          {"positionals", std::move(positionals)},
          {"options", std::move(options)},
          {"verbs", std::move(verbs)}};
}

}  // namespace

void add_print_options(CLI::App& app, Vocabulary vocabulary, const std::string& default_verb) {
  const auto print = [&app, vocabulary = std::move(vocabulary), default_verb] {
    json program = described(app, app.get_name());
    program["version"] = app.version();
    program["vocabulary"] = vocabulary;
    program["default_verb"] = default_verb;
    // CLI11 prints its text and nothing else, whatever else is required.
    throw CLI::CallForVersion(json_text(program, 2), 0);
  };
  app.add_flag_callback("--print-options", print, "As JSON, for scripts/make_manual.py")->group("");
}

}  // namespace ublkbench

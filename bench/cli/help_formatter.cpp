// SPDX-License-Identifier: MIT
#include "bench/cli/help_formatter.hpp"

#include <sstream>

namespace ublkbench {
namespace {

constexpr std::size_t page_width = 100;

std::string first_name(const CLI::Option& option) {
  return option.get_lnames().empty() ? option.get_name() : "--" + option.get_lnames().front();
}

std::string without_brackets(const std::string& value) {
  return value.starts_with('[') && value.ends_with(']') ? value.substr(1, value.size() - 2) : value;
}

}  // namespace

std::string value_type(const CLI::Option& option) {
  if (option.get_type_size() == 0) return {};
  // Behind the colon are the descriptions of validators.
  const std::string type = option.get_type_name();
  const std::string name = type.substr(0, type.find(':'));
  return name == "UINT" || name == "INT" ? "N" : name;
}

std::string HelpFormatter::make_option_name(const CLI::Option* option, bool is_positional) const {
  // A flag's other name carries what it means: "--no-latency{false}".
  return CLI::detail::find_and_replace(CLI::Formatter::make_option_name(option, is_positional),
                                       "{false}", "");
}

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  std::string text;
  if (option->get_type_size() != 0) {
    const std::string type = value_type(*option);
    // Of one that can stand without a value the default is that of standing so.
    const bool may_be_alone = option->get_expected_min() == 0;
    if (!type.empty()) text += may_be_alone ? "[=" + type + "]" : ' ' + type;  // a flag has none
    if (const std::string value = without_brackets(option->get_default_str());
        !value.empty() && !may_be_alone)
      text += " [" + value + ']';
    if (option->get_positional() && option->get_items_expected_max() > 1) text += " ...";
    if (option->get_required()) text += " (required)";
  }
  if (!option->get_envname().empty()) text += " (or $" + option->get_envname() + ')';
  for (const CLI::Option* other : option->get_excludes())
    text += " (not with " + first_name(*other) + ')';
  return text;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  return wrapped(option->get_description());
}

std::string HelpFormatter::make_subcommand(const CLI::App* verb) const {
  std::ostringstream text;
  CLI::detail::format_help(text, verb->get_display_name(true), wrapped(verb->get_description()),
                           column_width_);
  return text.str();
}

std::string HelpFormatter::wrapped(const std::string& text) const {
  const std::size_t width = page_width - column_width_;
  std::string out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::size_t column = 0;
    if (!out.empty()) out += '\n';
    for (std::string word; words >> word;) {
      if (column != 0) {
        const bool fits = column + 1 + word.size() <= width;
        out += fits ? ' ' : '\n';
        column = fits ? column + 1 : 0;
      }
      out += word;
      column += word.size();
    }
  }
  return out;
}

void hide_defaults(CLI::App& app) {
  for (CLI::Option* const option : app.get_options()) option->default_str("");
}

}  // namespace ublkbench

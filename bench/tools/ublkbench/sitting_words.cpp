// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/sitting_words.hpp"

#include <algorithm>
#include <array>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/suite/writing.hpp"

namespace ublkbench {
namespace {

constexpr std::array<std::string_view, 7> axis_options{"--mode", "-m",   "--target", "-t",
                                                       "--qd",   "--bs", "--rw"};
constexpr std::array<std::string_view, 12> own_options{
    "--ios",  "--runtime", "--repeat", "--seed",    "--json",   "--out",
    "--help", "--format",  "--resume", "--dry-run", "--device", "--verify"};

/// Whose data a target has that perhaps only another guest can open: then it is the user's.
bool is_users(const std::string& spec) {
  const auto data = data_of_target(spec);
  return !data || data->owner == DataOwner::user;
}

/// The values of an axis, lists taken apart; what it is when it is not given.
std::vector<std::string> values_of(const std::vector<std::string>& matrix, std::string_view name,
                                   std::string_view short_name, const std::string& otherwise) {
  std::vector<std::string> values;
  for (std::size_t at = 0; at + 1 < matrix.size(); at += 2)
    if (matrix[at] == name || matrix[at] == short_name) values.push_back(matrix[at + 1]);
  if (values.empty()) values.push_back(otherwise);
  return values;
}

}  // namespace

/// The other program may be a build that writes to whatever it verifies, so this one decides.
Result<> SittingWords::protect_data() {
  if (std::ranges::contains(common, "--destructive")) return {};
  for (const std::string& spec : values_of(matrix, "--target", "-t", "null")) {
    if (!is_users(spec)) continue;
    for (const std::string& patterns : values_of(matrix, "--rw", "--rw", "randread"))
      for (const std::string& word : split(patterns, ','))
        if (const auto pattern = load::parse_pattern(word); pattern && load::writes(*pattern))
          return bad_input(
              formatted("'{}' overwrites target {}, which this run did not make", word, spec),
              "allow it with --destructive");
    verify = "off";
  }
  return {};
}

Result<SittingWords> SittingWords::parse(const std::vector<std::string>& words) {
  SittingWords parsed;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string name = words[at].substr(0, words[at].find('='));
    const bool has_value = name.size() != words[at].size();
    if (std::ranges::contains(own_options, name))
      return bad_input(formatted("{} among the words for 'run'", name),
                       "the gate decides that; 'ublkbench gate --help' has its options");
    const bool is_axis = std::ranges::contains(axis_options, name) ||
                         std::ranges::contains(all_axes(), std::string_view(name), &Axis::option);
    if (!is_axis && name != "--control") {
      parsed.common.push_back(words[at]);
      continue;
    }
    if (!has_value && at + 1 == words.size()) return bad_input(name + " needs a value");
    const std::string value = has_value ? words[at].substr(name.size() + 1) : words[++at];
    if (name == "--control")
      parsed.control = value;
    else
      parsed.matrix.insert(parsed.matrix.end(), {name, value});
  }
  if (parsed.control == "none")
    return bad_input("--control none", "without a control nothing tells a restless machine apart");
  if (auto safe = parsed.protect_data(); !safe) return std::unexpected(safe.error());
  return parsed;
}

std::vector<std::string> SittingWords::of_cell(const Axes& axes, const std::string& target) {
  std::vector<std::string> words{"--mode",   axes.mode,
                                 "--target", target,
                                 "--qd",     std::to_string(axes.depth),
                                 "--bs",     format_size(axes.block_bytes),
                                 "--rw",     axes.pattern};
  // What is none need not be known to the other build.
  for (const Axis& axis : all_axes())
    if (!axis.option.empty() && !axis.is_blank(axes))
      words.insert(words.end(), {std::string(axis.option), axis.text(axes)});
  return words;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/tools/sitting_words.hpp"

#include <algorithm>
#include <array>
#include <format>

#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

constexpr std::array<std::string_view, 7> axis_options{"--mode", "-m",   "--target", "-t",
                                                       "--qd",   "--bs", "--rw"};
constexpr std::array<std::string_view, 11> own_options{
    "--ios",  "--runtime", "--repeat", "--seed",    "--json",  "--out",
    "--help", "--format",  "--resume", "--dry-run", "--device"};

}  // namespace

Result<SittingWords> SittingWords::parse(const std::vector<std::string>& words) {
  SittingWords parsed;
  for (std::size_t at = 0; at < words.size(); ++at) {
    const std::string name = words[at].substr(0, words[at].find('='));
    const bool has_value = name.size() != words[at].size();
    if (std::ranges::contains(own_options, name))
      return bad_input(std::format("{} among the words for 'run'", name),
                       "the gate decides that; 'ublkbench gate --help' has its options");
    const bool is_axis = std::ranges::contains(axis_options, name);
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
  return parsed;
}

std::vector<std::string> SittingWords::of_cell(const analyzers::Axes& axes,
                                               const std::string& target) {
  return {"--mode",   axes.mode,
          "--target", target,
          "--qd",     std::to_string(axes.depth),
          "--bs",     format_size(axes.block_bytes),
          "--rw",     axes.pattern};
}

}  // namespace ublkbench

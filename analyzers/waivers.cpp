// SPDX-License-Identifier: MIT
#include "analyzers/waivers.hpp"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/base/format.hpp"

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

constexpr const char* waivers_schema = "ublkbench.waivers/1";

/// "2026-12-31", so that days compare as texts.
bool is_day(const std::string& text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  return std::ranges::all_of(text, [](char c) { return c == '-' || (c >= '0' && c <= '9'); });
}

/// Throws on a wrong shape.
Waiver waiver_from(const json& object) {
  const std::string name = object.at("figure");
  const auto figure = figure_named(name);
  if (!figure) throw std::invalid_argument(formatted("unknown figure '{}'", name));
  Waiver waiver{.cell = object.at("cell"),
                .figure = *figure,
                .ceiling_percent = object.at("ceiling_percent"),
                .expires = object.at("expires"),
                .issue = object.at("issue")};
  if (!(waiver.ceiling_percent > 0)) throw std::invalid_argument("a ceiling must be above 0");
  if (!is_day(waiver.expires))
    throw std::invalid_argument(formatted("'{}' is no day (YYYY-MM-DD)", waiver.expires));
  if (waiver.issue.empty()) throw std::invalid_argument("a waiver needs an issue");
  return waiver;
}

}  // namespace

Result<std::vector<Waiver>> read_waivers(const std::string& path) {
  std::ifstream file(path);
  if (!file)
    return std::unexpected(
        failed("read the waivers", path, errno).error().with_exit(ExitCode::usage));
  try {
    const json document = json::parse(file);
    if (document.at("schema") != waivers_schema) throw std::invalid_argument("unknown schema");
    std::vector<Waiver> waivers;
    for (const json& object : document.at("waivers")) waivers.push_back(waiver_from(object));
    return waivers;
  } catch (const std::exception& problem) {
    std::string what = problem.what();
    std::ranges::replace(what, '\n', ' ');
    return bad_input(formatted("{} is no list of waivers: {}", path, what),
                     "'ublkbench gate --help' has the form");
  }
}

std::optional<std::string> objection(std::span<const Waiver> waivers, const std::string& cell,
                                     Figure figure, double ratio, const std::string& today) {
  std::optional<std::string> found;
  for (const Waiver& waiver : waivers) {
    if (waiver.cell != cell || waiver.figure != figure) continue;
    if (today > waiver.expires)
      found = formatted("its waiver ({}) expired on {}", waiver.issue, waiver.expires);
    else if (ratio > 1 + waiver.ceiling_percent / 100)
      found = formatted("its waiver ({}) allows {:.3g} %", waiver.issue, waiver.ceiling_percent);
    else
      return std::string();
  }
  return found;
}

}  // namespace ublkbench::analyzers

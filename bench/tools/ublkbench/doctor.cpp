// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/doctor.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/result.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/record/write_fields.hpp"

namespace ublkbench {
namespace {

struct StatusStyle {
  std::string_view word;
  std::string_view color;
};

StatusStyle style_of(CheckStatus status) {
  switch (status) {
    case CheckStatus::ok:
      return {"ok", "\x1b[32m"};
    case CheckStatus::info:
      return {"info", "\x1b[36m"};
    case CheckStatus::warn:
      return {"warn", "\x1b[33m"};
    case CheckStatus::fail:
      return {"fail", "\x1b[1;31m"};
  }
  return {"?", ""};
}

bool can_run(const Findings& findings) {
  return std::ranges::none_of(
      findings, [](const Finding& finding) { return finding.status == CheckStatus::fail; });
}

std::string summary(const Findings& findings) {
  const auto count = [&](CheckStatus status) {
    return std::ranges::count(findings, status, &Finding::status);
  };
  return formatted("{}: {} problem(s), {} warning(s)",
                   can_run(findings) ? "ublkbench can run here" : "ublkbench cannot run here",
                   count(CheckStatus::fail), count(CheckStatus::warn));
}

void print_json(const Findings& findings) {
  nlohmann::json checks = nlohmann::json::array();
  for (const Finding& finding : findings)
    checks.push_back({{"name", finding.name},
                      {"status", style_of(finding.status).word},
                      {"finding", finding.finding},
                      {"advice", finding.advice}});
  const nlohmann::json document = {{"schema", "ublkbench.doctor/1"},
                                   {"tool", to_json(tool_identity())},
                                   {"can_run", can_run(findings)},
                                   {"checks", checks}};
  print_line("{}", json_text(document, 2));
}

}  // namespace

std::string format_findings(const Findings& findings, bool color) {
  std::size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.name.size());
  std::string text;
  for (const Finding& finding : findings) {
    const StatusStyle style = style_of(finding.status);
    const std::string padding(4 - style.word.size(), ' ');
    text += formatted("{}{}{}{}  {:<{}}  {}\n", color ? style.color : "", style.word,
                      color ? "\x1b[0m" : "", padding, finding.name, width, finding.finding);
    if (!finding.advice.empty()) text += formatted("{:{}}-> {}\n", "", width + 8, finding.advice);
  }
  return text;
}

int run_doctor(bool json) {
  Findings findings;
  check_ublk(findings);
  check_diagnosis(findings);
  check_measurement(findings);
  if (json) {
    print_json(findings);
  } else {
    const char* const no_color = std::getenv("NO_COLOR");
    const bool color = ::isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == '\0');
    print_line("{}\n{}", format_findings(findings, color), summary(findings));
  }
  return static_cast<int>(can_run(findings) ? ExitCode::ok : ExitCode::environment);
}

}  // namespace ublkbench

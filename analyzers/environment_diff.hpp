// SPDX-License-Identifier: MIT
// Which fields keep two runs from being compared.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace ublkbench::analyzers {

struct FieldDifference {
  std::string field;  ///< "env.kernel.release"
  std::string a;      ///< as JSON; "absent" where there is none
  std::string b;
};

/// Of two of Record::comparable_fields(), without those below a name in `vary`: "kernel" (or
/// "env.kernel") is all of env.kernel.*, "work.ios" that field.
std::vector<FieldDifference> differences(const nlohmann::json& a, const nlohmann::json& b,
                                         std::span<const std::string> vary = {});

/// "  env.kernel.release: "7.3.4" and "7.2.9"", a line each.
std::string to_text(std::span<const FieldDifference> differences);

}  // namespace ublkbench::analyzers

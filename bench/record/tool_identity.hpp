// SPDX-License-Identifier: MIT
// Which ublkbench made a record.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace ublkbench {

struct ToolIdentity {
  std::string version;
  std::string commit;         ///< "unknown" where the source is in no git repository
  std::optional<bool> dirty;  ///< sources differ from the commit; nothing where that is not known
  std::string compiler;
  std::string flags;  ///< without warnings
  std::string build_type;
};

const ToolIdentity& tool_identity();

/// "0.1.0 (1234567, dirty)": what --version of each program prints.
std::string version_text();

/// {"version", "commit", "dirty", "compiler", "flags", "build_type"}
nlohmann::json tool_json();

}  // namespace ublkbench

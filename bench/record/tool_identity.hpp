// SPDX-License-Identifier: MIT
// Which ublkbench made a record.
#pragma once

#include <optional>
#include <string>

#include "bench/record/fields.hpp"

namespace ublkbench {

struct ToolIdentity {
  std::string version;
  std::string commit;         ///< "unknown" where the source is in no git repository
  std::optional<bool> dirty;  ///< sources differ from the commit; nothing where that is not known
  std::string compiler;
  std::string flags;  ///< without warnings
  std::string build_type;

  static constexpr auto fields() {
    using T = ToolIdentity;
    return std::tuple(field("version", &T::version), field("commit", &T::commit),
                      nullable("dirty", &T::dirty), field("compiler", &T::compiler),
                      field("flags", &T::flags), field("build_type", &T::build_type));
  }
};

const ToolIdentity& tool_identity();

/// "0.1.0 (1234567, dirty)": what --version of each program prints.
std::string version_text();

}  // namespace ublkbench

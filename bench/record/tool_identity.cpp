// SPDX-License-Identifier: MIT
#include "bench/record/tool_identity.hpp"

#include "ublkbench_commit.h"

namespace ublkbench {

const ToolIdentity& tool_identity() {
  static const ToolIdentity identity{
      .version = UBLKBENCH_VERSION,
      .commit = UBLKBENCH_COMMIT,
      .dirty = UBLKBENCH_DIRTY < 0 ? std::nullopt : std::optional(UBLKBENCH_DIRTY == 1),
      .compiler = UBLKBENCH_COMPILER,
      .flags = UBLKBENCH_FLAGS,
      .build_type = UBLKBENCH_BUILD_TYPE};
  return identity;
}

std::string version_text() {
  const ToolIdentity& tool = tool_identity();
  return tool.version + " (" + tool.commit + (tool.dirty.value_or(false) ? ", dirty)" : ")");
}

}  // namespace ublkbench

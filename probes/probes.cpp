// SPDX-License-Identifier: MIT
#include "probes/probes.hpp"

namespace ublkbench::probes {

const std::vector<ProbeKind>& probe_kinds() {
  static const std::vector<ProbeKind> kinds = {
      {"batch", "How many io commands are fetched and committed at once?", attach_batch},
  };
  return kinds;
}

}  // namespace ublkbench::probes

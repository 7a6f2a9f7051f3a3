// SPDX-License-Identifier: MIT
#include "probes/probes.hpp"

namespace ublkbench::probes {

const std::vector<ProbeKind>& probe_kinds() {
  static const std::vector<ProbeKind> kinds = {
      {"batch", "How many io commands are fetched and committed at once?", attach_batch},
      {"latency", "Where does the time of each request go, stage by stage?", attach_latency},
  };
  return kinds;
}

}  // namespace ublkbench::probes

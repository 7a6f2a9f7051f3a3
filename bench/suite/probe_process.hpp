// SPDX-License-Identifier: MIT
// ublk-probe as a process: attached before a load, told of the edges of its window, ended after it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"
#include "bench/process/child.hpp"
#include "bench/process/program.hpp"
#include "bench/record/sample_record.hpp"

namespace ublkbench {

class ProbeProcess {
 public:
  enum class Edge : char { begin = 'b', end = 'e' };

  /// Returns once the probes are attached. `probes` as ublk-probe takes them: "batch,latency".
  static Result<ProbeProcess> start(int device, const std::string& probes);

  /// What it counts until now is not of the window, or the last that is. Returns once that is so;
  /// also in a process that was forked since.
  [[nodiscard]] Result<> mark(Edge edge) const;

  /// Detaches.
  Result<ProbeRecord> finish();

 private:
  ProbeProcess(process::Child child, Fd edges, process::OutputFile output,
               process::OutputFile errors)
      : process_(std::move(child)),
        edges_(std::move(edges)),
        output_(std::move(output)),
        errors_(std::move(errors)) {}
  Result<> wait_until_attached(int ready);
  Result<> wait_for_end();
  Error error_of_process(const char* what);

  process::Child process_;  // what it attached goes with its file descriptors
  Fd edges_;                // a byte for each edge, and its answer
  process::OutputFile output_;
  process::OutputFile errors_;
};

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// ublk-probe as a process: attached before a load, ended after it.
#pragma once

#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <string>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench {

class ProbeProcess {
 public:
  /// Returns once the probes are attached. `probes` as ublk-probe takes them: "batch,latency".
  static Result<ProbeProcess> start(int device, const std::string& probes);

  ProbeProcess(ProbeProcess&& other) noexcept;
  ProbeProcess& operator=(ProbeProcess&&) = delete;
  ProbeProcess(const ProbeProcess&) = delete;
  ~ProbeProcess();

  /// Detaches; {"record": what ublk-probe recorded, "text": the same for people}.
  Result<nlohmann::json> finish();

 private:
  ProbeProcess() = default;
  Result<> wait_until_attached();
  Result<> wait_for_end();
  Error error_of_process(const char* what);

  pid_t process_ = -1;
  Fd ready_;   // a byte, once attached
  Fd output_;  // an unnamed file each: pipes would fill up
  Fd errors_;
};

}  // namespace ublkbench

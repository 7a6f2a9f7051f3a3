// SPDX-License-Identifier: MIT
// Work in a process of its own, with a bound: a load that gets stuck in the kernel must not take
// the run with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "bench/base/result.hpp"
#include "bench/record/record_text.hpp"

namespace ublkbench {

/// As run_in_child(), with the text of what the work returns.
Result<std::string> text_of_child(
    const std::function<Result<std::string>(const std::atomic<bool>& stop)>& work,
    std::uint64_t timeout_ns);

/// Runs `work` in a forked child and returns the record it returns. The child is told to stop
/// (SIGTERM; `stop` flips for work() to see) when this process is interrupted, and is killed when
/// it does not answer within `timeout_ns`, which is an ExitCode::hang error.
template <HasFields Record, class Work>
Result<Record> run_in_child(Work&& work, std::uint64_t timeout_ns) {
  const auto text = text_of_child(
      [&](const std::atomic<bool>& stop) -> Result<std::string> {
        const Result<Record> done = work(stop);
        if (!done) return std::unexpected(done.error());
        return record_text(*done);
      },
      timeout_ns);
  if (!text) return std::unexpected(text.error());
  return record_of_text<Record>(*text, "the load process");
}

}  // namespace ublkbench

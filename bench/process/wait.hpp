// SPDX-License-Identifier: MIT
// Waits. Each has a deadline, says what it waited for, and ends when the user interrupts.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::process {

/// A deadline for what waits as long as the user lets it.
inline constexpr std::uint64_t no_deadline_ns = UINT64_MAX;

/// now_ns() + `time_ns`, which may be no_deadline_ns.
std::uint64_t deadline_after(std::uint64_t time_ns);

/// Asks `ready` until it says so: at once, then after pauses of up to 2 ms. ETIMEDOUT after the
/// deadline, with `hint`.
Result<> wait_until(std::string_view what, std::uint64_t deadline_ns,
                    const std::function<bool()>& ready, std::string_view hint = {});

/// Until there is something to read from `fd`, or it ended.
Result<> wait_readable(int fd, std::string_view what, std::uint64_t deadline_ns);

/// Adds to `text` all that comes until the stream ends; what came before the deadline stays there.
Result<> read_to_end(int fd, std::string& text, std::string_view what, std::uint64_t deadline_ns);

/// All of it, unless the reader is gone.
bool write_fully(int fd, std::string_view text);

struct Pipe {
  Fd reader;
  Fd writer;
};
Result<Pipe> make_pipe(std::string_view what);

}  // namespace ublkbench::process

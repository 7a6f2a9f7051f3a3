// SPDX-License-Identifier: MIT
#include "bench/base/entry.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/result.hpp"
#include "bench/base/standard_streams.hpp"

namespace ublkbench {
namespace {

int failure(std::string_view program, std::string_view what, ExitCode code) {
  say("{}: {}", program, what);
  return static_cast<int>(code);
}

/// A file whose name is not UTF-8 could be served, but no JSON can name it: neither a record, nor
/// what 'recover' reads to find it again.
const char* unspeakable(std::span<char* const> words) {
  for (const char* const word : words)
    if (!is_utf8(word)) return word;
  return nullptr;
}

/// Until a program has something to take back, and says so with process::handle_interrupts().
void end_on_interrupt() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before{};
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_DFL)
      ::signal(signal, [](int) { ::_exit(static_cast<int>(ExitCode::interrupted)); });
  }
}

int guarded(std::string_view program, const std::function<int()>& run) {
  try {
    return run();
  } catch (const nlohmann::json::exception& error) {
    return failure(program, error.what(), ExitCode::usage);
  } catch (const std::bad_alloc&) {
    return failure(program, "out of memory", ExitCode::environment);
  } catch (const std::exception& error) {
    if (std::ferror(stdout) != 0) return 0;  // said below
    return failure(program, error.what(), ExitCode::environment);
  }
}

}  // namespace

int enter(std::string_view program, int argc, char** argv, const std::function<int()>& run) {
  prepare_standard_streams();
  end_on_interrupt();
  if (const char* const word = unspeakable({argv, static_cast<std::size_t>(argc)}))
    return failure(
        program,
        formatted("'{}' is not UTF-8; name the file through a symbolic link", escaped(word)),
        ExitCode::usage);
  const int code = guarded(program, run);
  const bool failed_before = std::ferror(stdout) != 0;
  const auto flushed = write_to_stdout({});
  if (code != 0 || (flushed && !failed_before)) return code;
  return failure(program,
                 flushed ? "write the results to stdout: it failed" : flushed.error().message(),
                 ExitCode::usage);
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/suite/child.hpp"

#include <optional>
#include <string>
#include <utility>

#include "bench/process/child.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/wait.hpp"
#include "bench/record/record_codec.hpp"

namespace ublkbench {
namespace {

// What an interrupted load may take to say what it measured so far.
constexpr std::uint64_t interrupted_grace_ns = 500'000'000;
constexpr std::uint64_t stuck_ns = 2'000'000'000;

/// What a child says: its work's text, or an error.
struct Answer {
  std::optional<std::string> text;
  std::string operation;
  std::string object;
  int errnum = 0;
  std::string hint;
  int exit = 0;

  static constexpr auto fields() {
    using M = Answer;
    return std::tuple(field("text", &M::text), field("operation", &M::operation),
                      field("object", &M::object), field("errno", &M::errnum),
                      field("hint", &M::hint), field("exit", &M::exit));
  }
};

Answer answer_of(const Result<std::string>& result) {
  if (result)
    return {.text = *result, .operation = {}, .object = {}, .errnum = 0, .hint = {}, .exit = 0};
  const Error& error = result.error();
  return {.text = {},
          .operation = error.operation,
          .object = error.object,
          .errnum = error.errnum,
          .hint = error.hint,
          .exit = static_cast<int>(error.exit)};
}

Result<std::string> result_of(Answer answer) {
  if (answer.text) return std::move(*answer.text);
  return std::unexpected(Error{.operation = std::move(answer.operation),
                               .object = std::move(answer.object),
                               .errnum = answer.errnum,
                               .hint = std::move(answer.hint),
                               .exit = static_cast<ExitCode>(answer.exit)});
}

/// Everything that the child says. One that was interrupted is told to stop and has a moment to say
/// how far it came.
Result<std::string> hear(const process::Child& child, int fd, std::uint64_t timeout_ns) {
  std::string text;
  auto heard =
      process::read_to_end(fd, text, "the load process", process::deadline_after(timeout_ns));
  if (!heard && heard.error().exit == ExitCode::interrupted) {
    const process::Uninterrupted while_it_stops;
    child.signal(SIGTERM);
    if (process::read_to_end(fd, text, "the load process",
                             process::deadline_after(interrupted_grace_ns)))
      return text;
  }
  if (heard) return text;
  if (heard.error().errnum == ETIMEDOUT)
    heard = std::unexpected(heard.error().with_exit(ExitCode::hang));
  return std::unexpected(heard.error());
}

}  // namespace

Result<std::string> text_of_child(
    const std::function<Result<std::string>(const std::atomic<bool>&)>& work,
    std::uint64_t timeout_ns) {
  auto pipe = process::make_pipe("for the load process");
  if (!pipe) return std::unexpected(pipe.error());
  auto child = process::Child::start(
      {.what = "the load process",
       .keep_all = true,
       .signals = process::Signals::sigterm_interrupts},
      [&] {
        const std::string message = record_text(answer_of(work(process::interrupt_flag())));
        return process::write_fully(pipe->writer.get(), message) ? 0 : 1;
      });
  if (!child) return std::unexpected(child.error());
  pipe->writer.reset();
  const auto text = hear(*child, pipe->reader.get(), timeout_ns);
  if (!text) {
    // It may hang in I/O that ends with the server, which is ended next.
    (void)child->kill(text.error().exit == ExitCode::interrupted ? 0 : stuck_ns);
    return std::unexpected(text.error());
  }
  auto message = record_of_text<Answer>(*text, "the load process");
  if (!message) return failed("load process", "died", ECHILD);
  return result_of(std::move(*message));
}

}  // namespace ublkbench

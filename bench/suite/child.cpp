// SPDX-License-Identifier: MIT
#include "bench/suite/child.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <format>
#include <string>

#include "bench/base/clock.hpp"
#include "bench/base/fd.hpp"

namespace ublkbench {
namespace {

// Lock-free atomics are what a signal handler may touch.
std::atomic<bool> interrupt_flag = false;
static_assert(std::atomic<bool>::is_always_lock_free);

void on_interrupt(int) { interrupt_flag = true; }

void install(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;  // no SA_RESTART: waits are to end
  ::sigaction(signal, &action, nullptr);
}

nlohmann::json to_json(const Error& error) {
  return {{"operation", error.operation},
          {"object", error.object},
          {"errno", error.errnum},
          {"hint", error.hint},
          {"exit", static_cast<int>(error.exit)}};
}

Error error_from(const nlohmann::json& json) {
  return {.operation = json.value("operation", ""),
          .object = json.value("object", ""),
          .errnum = json.value("errno", 0),
          .hint = json.value("hint", ""),
          .exit = static_cast<ExitCode>(json.value("exit", 5))};
}

[[noreturn]] void child_main(
    const std::function<Result<nlohmann::json>(const std::atomic<bool>&)>& work, int fd,
    pid_t parent) {
  // Ctrl-C reaches the whole group; only the parent acts on it, and says so with SIGTERM.
  install(SIGINT, SIG_IGN);
  install(SIGHUP, SIG_IGN);
  install(SIGTERM, on_interrupt);
  interrupt_flag = false;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const auto result = work(interrupt_flag);
  const nlohmann::json message = result ? nlohmann::json{{"result", *result}}
                                        : nlohmann::json{{"error", to_json(result.error())}};
  const std::string text = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t count = ::write(fd, text.data() + sent, text.size() - sent);
    if (count < 0 && errno != EINTR) ::_exit(1);
    if (count > 0) sent += static_cast<std::size_t>(count);
  }
  // Not exit(): a stuck load leaves rings that only the end of the process can give up.
  ::_exit(0);
}

/// Everything that the child writes until it closes the pipe.
Result<std::string> read_all(int fd, pid_t child, std::uint64_t timeout_ns) {
  std::string text;
  std::uint64_t deadline_ns = now_ns() + timeout_ns;
  bool told_to_stop = false;
  for (;;) {
    if (interrupted() && !told_to_stop) {
      ::kill(child, SIGTERM);
      told_to_stop = true;
      deadline_ns = std::min(deadline_ns, now_ns() + 10'000'000'000);
    }
    if (now_ns() >= deadline_ns)
      return std::unexpected(
          failed("load process", "gave no answer", ETIMEDOUT).error().with_exit(ExitCode::hang));
    pollfd poller{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&poller, 1, 200) <= 0) continue;
    char buffer[65536];
    const ssize_t count = ::read(fd, buffer, sizeof(buffer));
    if (count == 0) return text;
    if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
  }
}

/// A killed process that is stuck in the kernel is left behind rather than waited for.
void reap(pid_t child, bool kill_first) {
  if (kill_first) ::kill(child, SIGKILL);
  for (int tries = 0; tries < 2000; ++tries) {
    if (::waitpid(child, nullptr, WNOHANG) != 0) return;
    ::usleep(1000);
  }
}

}  // namespace

bool interrupted() { return interrupt_flag; }

void handle_interrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) install(signal, on_interrupt);
  install(SIGPIPE, SIG_IGN);
}

Result<nlohmann::json> run_in_child(
    const std::function<Result<nlohmann::json>(const std::atomic<bool>&)>& work,
    std::uint64_t timeout_ns) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", {}, errno);
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return failed("fork", "load process", errno);
  if (child == 0) {
    reader.reset();
    child_main(work, writer.get(), parent);
  }
  writer.reset();
  const auto text = read_all(reader.get(), child, timeout_ns);
  reap(child, !text);
  if (!text) return std::unexpected(text.error());
  const auto message = nlohmann::json::parse(*text, nullptr, false);
  if (message.is_discarded()) return failed("load process", "died", ECHILD);
  if (message.contains("error")) return std::unexpected(error_from(message["error"]));
  return message["result"];
}

}  // namespace ublkbench

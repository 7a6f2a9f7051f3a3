// SPDX-License-Identifier: MIT
#include "bench/suite/program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "bench/base/clock.hpp"
#include "bench/base/fd.hpp"
#include "bench/base/units.hpp"
#include "bench/suite/child.hpp"

namespace ublkbench {
namespace {

constexpr int poll_ms = 100;         // how often an interruption is looked for
constexpr int cannot_execute = 127;  // as a shell has it
constexpr std::uint64_t reap_ns = 2'000'000'000;

struct Pipe {
  Fd reader;
  Fd writer;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", {}, errno);
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

[[noreturn]] void become(std::vector<char*>& words, int out, int err, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || ::dup2(null, STDIN_FILENO) < 0 || ::dup2(out, STDOUT_FILENO) < 0 ||
      ::dup2(err, STDERR_FILENO) < 0)
    ::_exit(1);
  ::execv(words[0], words.data());
  ::_exit(cannot_execute);
}

/// Reads what there is; false at the end of the stream.
bool drain(int fd, std::string& text) {
  char buffer[65536];
  const ssize_t count = ::read(fd, buffer, sizeof(buffer));
  if (count > 0) text.append(buffer, static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

/// Reads both streams until they end; why it gave up before.
Result<> read_both(Fd& out, Fd& err, ProgramOutput& output, std::uint64_t deadline_ns) {
  while (out.valid() || err.valid()) {
    if (interrupted()) return failed("wait", {}, EINTR);
    if (now_ns() >= deadline_ns) return failed("wait", {}, ETIMEDOUT);
    // poll() passes over a descriptor below zero.
    std::array<pollfd, 2> streams{pollfd{.fd = out.get(), .events = POLLIN, .revents = 0},
                                  pollfd{.fd = err.get(), .events = POLLIN, .revents = 0}};
    if (::poll(streams.data(), streams.size(), poll_ms) <= 0) continue;
    if (streams[0].revents != 0 && !drain(out.get(), output.out)) out.reset();
    if (streams[1].revents != 0 && !drain(err.get(), output.err)) err.reset();
  }
  return {};
}

/// Its wait status; nothing if it does not end in time, as one that is stuck in the kernel.
std::optional<int> reap(pid_t child, std::uint64_t deadline_ns) {
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) return status;
    if (now_ns() >= deadline_ns) return std::nullopt;
    ::usleep(1000);
  }
}

}  // namespace

Result<ProgramOutput> run_program(const std::vector<std::string>& argv, std::uint64_t timeout_ns,
                                  std::uint64_t grace_ns) {
  auto out = make_pipe();
  if (!out) return std::unexpected(out.error());
  auto err = make_pipe();
  if (!err) return std::unexpected(err.error());
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const std::uint64_t deadline_ns = now_ns() + timeout_ns;
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return failed("fork", argv[0], errno);
  if (child == 0) become(words, out->writer.get(), err->writer.get(), parent);
  out->writer.reset();
  err->writer.reset();
  ProgramOutput output;
  auto read = read_both(out->reader, err->reader, output, deadline_ns);
  // One that closed its output and runs on has until the deadline, too.
  std::optional<int> status;
  if (read) status = reap(child, std::max(deadline_ns, now_ns() + reap_ns));
  if (!status) {
    if (grace_ns != 0) ::kill(child, SIGTERM);
    if (grace_ns == 0 || !reap(child, now_ns() + grace_ns)) {
      ::kill(child, SIGKILL);
      (void)reap(child, now_ns() + reap_ns);
    }
    const int why = read ? ETIMEDOUT : read.error().errnum;
    return failed("run", argv[0], why,
                  why == ETIMEDOUT
                      ? "it did not end within " + format_ns(static_cast<double>(timeout_ns))
                      : "");
  }
  output.exit_code = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
  if (output.exit_code == cannot_execute) return failed("run", argv[0], 0, "it cannot be executed");
  return output;
}

std::string find_program(const std::string& name) {
  std::error_code error;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error && ::access((own.parent_path() / name).c_str(), X_OK) == 0)
    return own.parent_path() / name;
  const char* const path = std::getenv("PATH");
  for (const std::string& folder : split(path != nullptr ? path : "", ':'))
    if (!folder.empty() && ::access((folder + '/' + name).c_str(), X_OK) == 0)
      return folder + '/' + name;
  return {};
}

}  // namespace ublkbench

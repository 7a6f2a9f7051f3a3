// SPDX-License-Identifier: MIT
#include "bench/suite/probe_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <format>
#include <utility>
#include <vector>

#include "bench/base/clock.hpp"
#include "bench/suite/program.hpp"

namespace ublkbench {
namespace {

// The verifier takes its time under an emulator.
constexpr std::uint64_t attach_limit_ns = 120'000'000'000;
constexpr std::uint64_t end_limit_ns = 60'000'000'000;

std::string contents(const Fd& file) {
  std::string text;
  char part[4096];
  for (;;) {
    const ssize_t count = ::pread(file.get(), part, sizeof(part), static_cast<off_t>(text.size()));
    if (count <= 0) return text;
    text.append(part, static_cast<std::size_t>(count));
  }
}

Fd memory_file(const char* name) { return Fd(::memfd_create(name, MFD_CLOEXEC)); }

}  // namespace

Result<ProbeProcess> ProbeProcess::start(int device, const std::string& probes) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", "for ublk-probe", errno);
  Fd ready_writer(ends[1]);
  ProbeProcess probe;
  probe.ready_ = Fd(ends[0]);
  probe.output_ = memory_file("ublk-probe stdout");
  probe.errors_ = memory_file("ublk-probe stderr");
  if (!probe.output_.valid() || !probe.errors_.valid())
    return failed("memfd_create", "for ublk-probe", errno);

  const std::string program = find_program("ublk-probe");
  if (program.empty())
    return unsupported("ublk-probe is neither beside this program nor in $PATH", "build it");
  constexpr int ready_fd = 3;
  const std::vector<std::string> words = {program,   "--dev",      std::to_string(device),
                                          "--probe", probes,       "--json",
                                          "-",       "--ready-fd", std::to_string(ready_fd)};
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  // Numbers that no dup2() below overwrites before it was copied.
  const int high[] = {::fcntl(ready_writer.get(), F_DUPFD_CLOEXEC, 16),
                      ::fcntl(probe.output_.get(), F_DUPFD_CLOEXEC, 16),
                      ::fcntl(probe.errors_.get(), F_DUPFD_CLOEXEC, 16)};
  probe.process_ = ::fork();
  if (probe.process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    ::setpgid(0, 0);  // Ctrl-C ends the load first, then finish() ends this one
    ::dup2(high[1], STDOUT_FILENO);
    ::dup2(high[2], STDERR_FILENO);
    ::dup2(high[0], ready_fd);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  for (const int fd : high) ::close(fd);
  ready_writer = Fd();  // so that the pipe ends with the process that did not attach
  if (probe.process_ < 0) return failed("fork", "for ublk-probe", errno);
  if (auto attached = probe.wait_until_attached(); !attached)
    return std::unexpected(attached.error());
  return probe;
}

ProbeProcess::ProbeProcess(ProbeProcess&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      ready_(std::move(other.ready_)),
      output_(std::move(other.output_)),
      errors_(std::move(other.errors_)) {}

ProbeProcess::~ProbeProcess() {
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);  // what it attached goes with its file descriptors
  ::waitpid(process_, nullptr, 0);
}

Result<> ProbeProcess::wait_until_attached() {
  const std::uint64_t deadline_ns = now_ns() + attach_limit_ns;
  char byte = 0;
  for (;;) {
    pollfd file{.fd = ready_.get(), .events = POLLIN, .revents = 0};
    const int left_ms =
        static_cast<int>((deadline_ns - std::min(now_ns(), deadline_ns)) / 1'000'000);
    const int ready = ::poll(&file, 1, left_ms);
    if (ready == 0) return failed("wait for ublk-probe", "to attach", ETIMEDOUT);
    if (ready < 0 && errno == EINTR) continue;
    break;
  }
  if (::read(ready_.get(), &byte, 1) == 1) return {};
  (void)wait_for_end();
  return std::unexpected(error_of_process("ublk-probe did not attach"));
}

Result<> ProbeProcess::wait_for_end() {
  const std::uint64_t deadline_ns = now_ns() + end_limit_ns;
  int status = 0;
  while (::waitpid(process_, &status, WNOHANG) == 0) {
    if (now_ns() > deadline_ns) return failed("wait for ublk-probe", "to end", ETIMEDOUT);
    ::usleep(5000);
  }
  process_ = -1;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return std::unexpected(error_of_process("ublk-probe failed"));
}

/// Its own one line, without its name in front.
Error ProbeProcess::error_of_process(const char* what) {
  std::string line = contents(errors_);
  while (line.ends_with('\n')) line.pop_back();
  line = line.substr(line.rfind('\n') == std::string::npos ? 0 : line.rfind('\n') + 1);
  if (line.starts_with("ublk-probe: ")) line.erase(0, 12);
  if (line.empty()) line = "it said nothing";
  return unsupported(what, line).error();
}

Result<nlohmann::json> ProbeProcess::finish() {
  ::kill(process_, SIGINT);
  if (auto ended = wait_for_end(); !ended) return std::unexpected(ended.error());
  auto record = nlohmann::json::parse(contents(output_), nullptr, false);
  if (!record.is_object()) return failed("read", "the record of ublk-probe", EINVAL);
  const nlohmann::json text = record["text"];
  record.erase("text");
  return nlohmann::json{{"record", std::move(record)}, {"text", text}};
}

}  // namespace ublkbench

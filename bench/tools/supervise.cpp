// SPDX-License-Identifier: MIT
#include "bench/tools/supervise.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <format>
#include <print>

#include "bench/base/clock.hpp"
#include "bench/tools/server_verbs.hpp"

namespace ublkbench {
namespace {

sigset_t ending_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

/// Before there is a device: a signal from then on waits for supervise(), which removes it.
void hold_signals() {
  const sigset_t signals = ending_signals();
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
}

/// Whether the device has its own future: it waits for another server, or has one already. The
/// driver notices the end of a server a moment after us.
bool goes_on(int id, pid_t ended_server) {
  if (id < 0) return false;
  const std::uint64_t deadline_ns = now_ns() + 10'000'000'000;
  for (;;) {
    const auto device = control::info(id);
    if (!device || !control::recoverable(*device)) return false;
    if (control::waits_for_recovery(*device)) return true;
    if (device->state == UBLK_S_DEV_DEAD) return false;
    if (device->ublksrv_pid > 0 && device->ublksrv_pid != ended_server) return true;
    if (now_ns() > deadline_ns) return true;
    ::usleep(500);
  }
}

int after_end(Server& server, pid_t process, const Result<>& ended, bool keep) {
  const int id = server.id();
  const bool stays = goes_on(id, process) || keep;
  if (stays) {
    const std::size_t count = server.ids().size();
    server.let_go();
    if (!ended && count > 1)
      std::println(stderr,
                   "ublk-server: {} devices stay: 'ublk-server list' shows them, 'del -n' removes",
                   count);
    else if (!ended)
      std::println(stderr,
                   "ublk-server: device {} stays: 'ublk-server recover -n {}', or 'del -n {}'", id,
                   id, id);
  }
  const auto removed = stays ? Result<>{} : server.kill();
  return ended ? report(removed) : report(ended.error());
}

/// Serves until a signal or the end of the server process. SIGINT, SIGTERM and SIGHUP stop the
/// device in order.
int supervise(Server& server, bool keep) {
  const sigset_t signals = ending_signals();
  const Fd signal_fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  pollfd events[] = {{.fd = signal_fd.get(), .events = POLLIN, .revents = 0},
                     {.fd = server.event_fd(), .events = POLLIN, .revents = 0}};
  for (;;) {
    if (::poll(events, 2, -1) < 0) continue;  // EINTR
    if (events[0].revents != 0) return report(server.stop());
    // The process ended: by itself on STOP_DEV or QUIESCE_DEV from elsewhere, or with an error. Or
    // it said that one of its devices was stopped.
    const pid_t process = server.process();
    if (const auto ended = server.attend(keep)) return after_end(server, process, *ended, keep);
  }
}

/// What the process in the background tells the one in front: an exit code and a text to print.
/// Whether somebody is there to hear it.
bool send_outcome(int fd, int code, const std::string& text) {
  const std::string message = static_cast<char>(code) + text + '\0';
  return ::write(fd, message.data(), message.size()) == static_cast<ssize_t>(message.size());
}

std::string receive_outcome(int fd) {
  std::string message;
  char byte = 0;
  while (::read(fd, &byte, 1) == 1 && (byte != '\0' || message.empty())) message += byte;
  return message;
}

[[noreturn]] void background_main(const ServingJob& job, Fd writer) {
  ::setsid();
  hold_signals();
  // Ctrl-C ends the process in front only, and then the pipe has no reader.
  ::signal(SIGPIPE, SIG_IGN);
  // Before the server process is forked: a reader of our output must not wait for a process that
  // holds the other end and lives as long as the device.
  if (auto null = open_file("/dev/null", O_RDWR))
    for (const int stream : {0, 1, 2}) ::dup2(null->get(), stream);
  auto server = job.start();
  if (!server) {
    const int code = static_cast<int>(server.error().exit);
    (void)send_outcome(writer.get(), code,
                       std::format("ublk-server: {}\n", server.error().message()));
    ::_exit(code);
  }
  const bool heard = send_outcome(writer.get(), 0, job.describe(*server));
  writer.reset();
  // Whoever interrupted 'add' wants no device. One that others use already goes on being served.
  if (!heard && job.adds_device) ::_exit(report(server->stop()));
  ::_exit(supervise(*server, job.keep));
}

}  // namespace

int serve_in_front(const ServingJob& job) {
  hold_signals();
  auto server = job.start();
  if (!server) return report(server.error());
  std::print("{}", job.describe(*server));
  std::fflush(stdout);
  return supervise(*server, job.keep);
}

int serve_in_background(const ServingJob& job) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return report(failed("pipe", {}, errno).error());
  Fd reader(ends[0]);
  Fd writer(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) return report(failed("fork", {}, errno).error());
  if (child == 0) {
    reader.reset();
    background_main(job, std::move(writer));
  }
  writer.reset();
  const std::string outcome = receive_outcome(reader.get());
  if (outcome.empty()) {
    ::waitpid(child, nullptr, 0);
    return report(failed("serve in the background", "process died", 0).error());
  }
  const int code = static_cast<unsigned char>(outcome.front());
  std::print(code == 0 ? stdout : stderr, "{}", outcome.substr(1));
  return code;
}

}  // namespace ublkbench

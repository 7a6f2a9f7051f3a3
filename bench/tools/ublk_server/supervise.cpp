// SPDX-License-Identifier: MIT
#include "bench/tools/ublk_server/supervise.hpp"

#include <poll.h>
#include <signal.h>

#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/process/child.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/wait.hpp"
#include "bench/tools/ublk_server/server_verbs.hpp"
#include "bench/tools/ublk_server/service_manager.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t notice_limit_ns = 10'000'000'000;
// What the user waits for a start to be undone; it goes on behind.
constexpr std::uint64_t undo_limit_ns = 1'500'000'000;

/// Whether the device has its own future: it waits for another server, or has one already. The
/// driver notices the end of a server a moment after us.
bool goes_on(int id, pid_t ended_server) {
  if (id < 0) return false;
  const process::Uninterrupted until_it_is_known;
  bool future = true;
  (void)process::wait_until("the driver to notice the end of the server",
                            process::deadline_after(notice_limit_ns), [&] {
                              const auto device = control::info(id);
                              if (!device || !control::recoverable(*device))
                                return !(future = false);
                              if (control::waits_for_recovery(*device)) return true;
                              if (device->state == UBLK_S_DEV_DEAD) return !(future = false);
                              return device->ublksrv_pid > 0 && device->ublksrv_pid != ended_server;
                            });
  return future;
}

int after_end(Server& server, pid_t process, const Result<>& ended, bool keep) {
  const int id = server.id();
  const bool stays = goes_on(id, process) || keep;
  if (stays) {
    const std::size_t count = server.ids().size();
    server.let_go();
    if (!ended && count > 1)
      say("ublk-server: {} devices stay: 'ublk-server list' shows them, 'del -n' removes", count);
    else if (!ended)
      say("ublk-server: device {} stays: 'ublk-server recover -n {}', or 'del -n {}'", id, id, id);
  }
  const auto removed = stays ? Result<>{} : server.kill();
  return ended ? report(removed) : report(ended.error());
}

/// Serves until a signal or the end of the server process. SIGINT, SIGTERM and SIGHUP stop the
/// device in order.
int supervise(Server& server, bool keep) {
  pollfd events[] = {{.fd = process::interrupt_fd(), .events = POLLIN, .revents = 0},
                     {.fd = server.event_fd(), .events = POLLIN, .revents = 0}};
  for (;;) {
    const int ready = ::poll(events, 2, -1);
    if (process::interrupted()) {
      tell_service_manager("STOPPING=1");
      return report(server.stop());
    }
    if (ready < 0) continue;
    // The process ended: by itself on STOP_DEV or QUIESCE_DEV from elsewhere, or with an error. Or
    // it said that one of its devices was stopped.
    const pid_t process = server.process();
    if (const auto ended = server.attend(keep)) return after_end(server, process, *ended, keep);
  }
}

/// What the process in the background tells the one in front: an exit code, a text to print, and a
/// zero, because the writing end stays open in the server. Whether somebody is there to hear it.
bool send_outcome(int fd, int code, const std::string& text) {
  return process::write_fully(fd, static_cast<char>(code) + text + '\0');
}

Result<std::string> receive_outcome(int fd) {
  std::string message;
  for (char byte = 1; byte != '\0' || message.size() <= 1;) {
    if (auto ready = process::wait_readable(fd, "the device", process::no_deadline_ns); !ready)
      return std::unexpected(ready.error());
    const ssize_t count = ::read(fd, &byte, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count != 1) return failed("serve in the background", "process died", 0);
    message += byte;
  }
  message.pop_back();
  return message;
}

int background_main(const ServingJob& job, Fd writer) {
  // Ctrl-C ends the process in front only, and then the pipe has no reader.
  ::signal(SIGPIPE, SIG_IGN);
  process::handle_interrupts();
  auto server = job.start();
  if (!server) {
    const int code = static_cast<int>(server.error().exit);
    (void)send_outcome(writer.get(), code,
                       formatted("ublk-server: {}\n", server.error().message()));
    return code;
  }
  const bool heard = send_outcome(writer.get(), 0, job.describe(*server));
  writer.reset();
  // Whoever interrupted 'add' wants no device. One that others use already goes on being served.
  if (!heard && job.adds_device) return report(server->stop());
  return supervise(*server, job.keep);
}

/// The device is there, whether or not its number can be told.
int tell(const std::string& description) {
  const auto told = write_to_stdout(description);
  // Nobody wanted to know.
  if (told || told.error().errnum == EBADF) return 0;
  say("ublk-server: {}", description);
  return report(told);
}

/// Whoever interrupted 'add' wants no device. Dies of the signal: a script that runs us ends, too.
void undo(process::Child& child, const ServingJob& job) {
  const process::Uninterrupted for_a_moment;
  if (job.adds_device) child.signal(SIGTERM);
  if (job.adds_device) (void)child.wait(process::deadline_after(undo_limit_ns));
  child.let_go();
  process::die_of_interrupt();
}

}  // namespace

int serve_in_front(const ServingJob& job) {
  process::handle_interrupts();
  auto server = job.start();
  if (!server) return report(server.error());
  (void)tell(job.describe(*server));
  tell_service_manager("READY=1");
  return supervise(*server, job.keep);
}

int serve_in_background(const ServingJob& job) {
  process::handle_interrupts();
  auto pipe = process::make_pipe("to the server in the background");
  if (!pipe) return report(pipe.error());
  // Its streams are /dev/null from the first: a reader of our output must not wait for a process
  // that lives as long as the device.
  auto child = process::Child::start({.what = "the server in the background",
                                      .keep_all = true,
                                      .signals = process::Signals::standard,
                                      .signal_on_parents_end = 0,
                                      .own_session = true},
                                     [&] {
                                       pipe->reader.reset();
                                       return background_main(job, std::move(pipe->writer));
                                     });
  if (!child) return report(child.error());
  pipe->writer.reset();
  const auto outcome = receive_outcome(pipe->reader.get());
  if (!outcome) {
    pipe->reader.reset();
    if (process::interrupted()) undo(*child, job);
    child->let_go();
    return report(outcome.error());
  }
  child->let_go();
  const int code = static_cast<unsigned char>(outcome->front());
  if (code == 0) return tell(outcome->substr(1));
  say(outcome->substr(1));
  return code;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/process/child.hpp"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <exception>

#include "bench/base/atomic_file.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::process {
namespace {

std::vector<pid_t> left_behind;

/// No signal is lost between fork() and the child's own handlers.
class SignalsHeld {
 public:
  SignalsHeld() {
    sigset_t all;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsHeld() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;
  void let_all_in() { sigemptyset(&before_); }

 private:
  sigset_t before_;
};

void take_signals(Signals signals) {
  forget_interrupts();
  if (signals == Signals::ignored) ignore_interrupts();
  if (signals == Signals::sigterm_interrupts) stop_on_sigterm();
  if (signals == Signals::standard)
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGXFSZ}) ::signal(number, SIG_DFL);
}

void take_streams(const std::array<int, 3>& streams) {
  const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (int number = 0; number < 3; ++number) {
    const int given = streams[static_cast<std::size_t>(number)];
    if (::dup2(given >= 0 ? given : null.get(), number) < 0) ::_exit(1);
  }
}

void close_all_but(std::vector<int> keep) {
  std::ranges::sort(keep);
  unsigned first = STDERR_FILENO + 1;
  for (const int kept : keep) {
    if (kept < static_cast<int>(first)) continue;
    if (static_cast<unsigned>(kept) > first)
      ::close_range(first, static_cast<unsigned>(kept) - 1, 0);
    first = static_cast<unsigned>(kept) + 1;
  }
  ::close_range(first, ~0U, 0);
}

/// The first steps of a child.
void settle(const ChildOptions& options, pid_t parent) {
  left_behind.clear();
  take_signals(options.signals);
  ::prctl(PR_SET_PDEATHSIG, options.signal_on_parents_end);
  if (options.signal_on_parents_end != 0 && ::getppid() != parent) ::_exit(1);
  if (options.own_group) ::setpgid(0, 0);
  if (options.own_session) ::setsid();
  take_streams(options.streams);
  // Also where all are closed: a child of this one must not take its own for them.
  close_callers_descriptors();
  // A record is free again when its run has ended, whoever is left behind.
  ExclusiveUse::let_go_in_child();
  if (!options.keep_all) {
    std::vector<int> keep = options.keep;
    if (options.signals == Signals::sigterm_interrupts) keep.push_back(interrupt_fd());
    close_all_but(std::move(keep));
  }
}

/// An exception must not unwind into the frames of the parent that the child has a copy of.
int end_of(const std::function<int()>& work) {
  try {
    return work();
  } catch (const std::exception& error) {
    say(error.what());
  } catch (...) {
    say("unknown exception");
  }
  return 1;
}

}  // namespace

Result<Child> Child::start(const ChildOptions& options, const std::function<int()>& work) {
  // A caller that ignores it would have the kernel forget how our children ended.
  ::signal(SIGCHLD, SIG_DFL);
  const pid_t parent = ::getpid();
  Child child;
  child.what_ = options.what;
  {
    SignalsHeld held;
    child.pid_ = ::fork();
    if (child.pid_ == 0) {
      settle(options, parent);
      held.let_all_in();
    }
  }
  // Not exit(): what was registered with atexit() is the parent's.
  if (child.pid_ == 0) ::_exit(end_of(work));
  if (child.pid_ < 0) return failed("fork", options.what, errno);
  // glibc 2.41 declares pidfd_open() without extern "C".
  child.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0)));
  if (!child.pidfd_.valid()) return failed("pidfd_open", options.what, errno);
  return child;
}

Result<Child> Child::start_program(ChildOptions options, const std::vector<std::string>& argv) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  return start(options, [&] {
    for (const int fd : options.keep) ::fcntl(fd, F_SETFD, 0);
    ::execv(words[0], words.data());
    return cannot_execute;
  });
}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  kill();
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::move(other.pidfd_);
  what_ = std::move(other.what_);
  return *this;
}

Child::~Child() { kill(); }

void Child::signal(int number) const {
  // Not reaped, so the number is still its own.
  if (exists()) ::kill(pid_, number);
}

Result<int> Child::wait(std::uint64_t deadline_ns) {
  if (auto ended = wait_readable(pidfd_.get(), what_, deadline_ns); !ended)
    return std::unexpected(ended.error());
  int status = 0;
  pid_t reaped = -1;
  while ((reaped = ::waitpid(pid_, &status, 0)) < 0 && errno == EINTR) continue;
  const int errnum = errno;
  let_go();
  if (reaped < 0) return failed("wait for", what_, errnum);
  return status;
}

bool Child::kill(std::uint64_t patience_ns) {
  if (!exists()) return true;
  const Uninterrupted until_it_is_gone;
  signal(SIGKILL);
  const bool gone = pidfd_.valid() && wait(deadline_after(patience_ns)).has_value();
  if (!gone) left_behind.push_back(pid_);
  let_go();
  return gone;
}

bool await_left_behind(std::uint64_t patience_ns) {
  const Uninterrupted until_they_are_gone;
  return wait_until("processes that were killed", deadline_after(patience_ns),
                    [] {
                      std::erase_if(left_behind, [](pid_t pid) {
                        return ::waitpid(pid, nullptr, WNOHANG) != 0;
                      });
                      return left_behind.empty();
                    })
      .has_value();
}

void Child::let_go() {
  pid_ = -1;
  pidfd_.reset();
}

int exit_code(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace ublkbench::process

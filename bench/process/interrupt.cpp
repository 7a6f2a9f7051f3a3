// SPDX-License-Identifier: MIT
#include "bench/process/interrupt.hpp"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "bench/base/format.hpp"

namespace ublkbench::process {
namespace {

// Lock-free atomics are what a signal handler may touch.
std::atomic<bool> flag = false;
std::atomic<int> event = -1;
std::atomic<int> last_signal = SIGINT;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

thread_local unsigned uninterrupted = 0;

void on_interrupt(int signal) {
  const int saved = errno;
  flag = true;
  last_signal = signal;
  const std::uint64_t one = 1;
  if (event >= 0 && ::write(event, &one, sizeof(one)) < 0) errno = saved;
  errno = saved;
}

void install(int signal, void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;  // no SA_RESTART: waits are to end
  ::sigaction(signal, &action, nullptr);
}

void make_event() { event = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

}  // namespace

void handle_interrupts() {
  if (event < 0) make_event();
  struct sigaction before{};
  const bool nohup = ::sigaction(SIGHUP, nullptr, &before) == 0 && before.sa_handler == SIG_IGN;
  for (const int signal : {SIGINT, SIGTERM}) install(signal, on_interrupt);
  if (!nohup) install(SIGHUP, on_interrupt);
}

bool interrupted() { return flag; }

const std::atomic<bool>& interrupt_flag() { return flag; }

int interrupt_fd() { return event; }

Uninterrupted::Uninterrupted() { ++uninterrupted; }
Uninterrupted::~Uninterrupted() { --uninterrupted; }

bool waits_are_over() { return flag && uninterrupted == 0; }

std::unexpected<Error> interruption(std::string_view waited_for) {
  return std::unexpected(Error{.operation = "interrupted",
                               .object = formatted("while waiting for {}", waited_for),
                               .errnum = 0,
                               .hint = {},
                               .exit = ExitCode::interrupted});
}

void die_of_interrupt() {
  install(last_signal, SIG_DFL);
  ::raise(last_signal);
  ::_exit(static_cast<int>(ExitCode::interrupted));
}

void forget_interrupts() {
  flag = false;
  if (const int parents = event.exchange(-1); parents >= 0) ::close(parents);
}

void stop_on_sigterm() {
  make_event();
  // Never ignored meanwhile: that would throw away one that is there already.
  install(SIGTERM, on_interrupt);
  for (const int signal : {SIGINT, SIGHUP, SIGPIPE}) install(signal, SIG_IGN);
}

void ignore_interrupts() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) install(signal, SIG_IGN);
}

}  // namespace ublkbench::process

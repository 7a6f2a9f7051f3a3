// SPDX-License-Identifier: MIT
// A child process: a function of ours, or a program. The one place that forks.
//
// A process that is stuck in the kernel cannot be ended, only left behind. So a child never holds
// what its parent's caller waits for: its standard streams are /dev/null unless it is given others,
// and the descriptors that the caller left open to the parent are closed in it.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::process {

/// How a child takes SIGINT, SIGTERM and SIGHUP. Ctrl-C reaches the whole foreground group; only
/// the parent acts on it.
enum class Signals : std::uint8_t {
  ignored,
  sigterm_interrupts,  ///< SIGTERM sets interrupted() in the child
  standard,            ///< as a program expects them
};

struct ChildOptions {
  std::string what;  ///< for errors: "server process"
  /// Which of the parent's own descriptors above stderr it has: all, or those in `keep`.
  bool keep_all = false;
  std::vector<int> keep;
  std::array<int, 3> streams{-1, -1, -1};  ///< of stdin, stdout, stderr; -1: /dev/null
  Signals signals = Signals::ignored;
  int signal_on_parents_end = SIGKILL;  ///< 0: it lives on
  bool own_group = false;               ///< Ctrl-C does not reach it
  bool own_session = false;             ///< nor does the end of the terminal
};

class Child {
 public:
  /// Runs `work` in a child, which ends with the value that it returns, or with 1 if it throws.
  static Result<Child> start(const ChildOptions& options, const std::function<int()>& work);

  /// Runs argv[0], a path. `keep` stays open across exec.
  static Result<Child> start_program(ChildOptions options, const std::vector<std::string>& argv);

  Child() = default;
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        pidfd_(std::move(other.pidfd_)),
        what_(std::move(other.what_)) {}
  Child& operator=(Child&& other) noexcept;
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  /// As kill().
  ~Child();

  [[nodiscard]] bool exists() const { return pid_ > 0; }  ///< not reaped yet
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }  ///< readable when it ended
  void signal(int number) const;

  /// Waits for its end; its wait status, as of waitpid().
  Result<int> wait(std::uint64_t deadline_ns);

  /// SIGKILL. One that has not ended `patience_ns` later is stuck in the kernel and left behind:
  /// false.
  bool kill(std::uint64_t patience_ns = 2'000'000'000);

  /// It goes on without us.
  void let_go();

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
  std::string what_;
};

/// Waits for children that kill() left behind; whether all are gone.
bool await_left_behind(std::uint64_t patience_ns);

/// 0 to 255 as the process said; 128 + N when signal N ended it.
int exit_code(int wait_status);

/// The exit code of a child that could not become the program, as a shell has it.
inline constexpr int cannot_execute = 127;

}  // namespace ublkbench::process

// SPDX-License-Identifier: MIT
// What bench/process promises: bounds, interruption, and nothing of the caller's left in a child.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/process/child.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::process {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t soon_ns = 20'000'000;
constexpr std::uint64_t long_ns = 60'000'000'000;

/// Runs `body` in a process of its own, which may interrupt itself and take what signals it wants.
int code_of(const std::function<int()>& body) {
  auto child = Child::start({.what = "the test's process", .keep_all = true}, body);
  if (!child) return -1;
  const auto status = child->wait(deadline_after(long_ns));
  return status ? exit_code(*status) : -1;
}

TEST(Process, FunctionGivesItsExitCode) {
  EXPECT_EQ(code_of([] { return 17; }), 17);
}

TEST(Process, AnExceptionEndsTheChildOnly) {
  EXPECT_EQ(code_of([]() -> int { throw std::runtime_error("out of luck"); }), 1);
}

TEST(Process, WaitHasABoundAndSaysWhatFor) {
  const auto waited = wait_until("the tide", deadline_after(soon_ns), [] { return false; }, "swim");
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().errnum, ETIMEDOUT);
  EXPECT_EQ(waited.error().message(), "wait for the tide: Connection timed out; swim");
}

TEST(Process, WaitThatIsOverIsNotLate) {
  EXPECT_TRUE(wait_until("nothing", 0, [] { return true; }));
}

TEST(Process, KilledAtItsBound) {
  auto child = Child::start({.what = "a sleeper"}, [] {
    ::pause();
    return 0;
  });
  ASSERT_TRUE(child);
  const auto status = child->wait(deadline_after(soon_ns));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errnum, ETIMEDOUT);
  EXPECT_THAT(status.error().message(), HasSubstr("a sleeper"));
  EXPECT_TRUE(child->kill(long_ns));
  EXPECT_FALSE(child->exists());
}

TEST(Process, EndsWithItsOwner) {
  pid_t pid = 0;
  {
    auto child = Child::start({.what = "a sleeper"}, [] {
      ::pause();
      return 0;
    });
    ASSERT_TRUE(child);
    pid = child->pid();
  }
  EXPECT_EQ(::waitpid(pid, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

/// The write end of a pipe is the caller's stdout here; who reads it must see its end although a
/// child lives on.
TEST(Process, ChildHoldsNeitherStreamsNorDescriptors) {
  auto pipe = make_pipe("for the test");
  ASSERT_TRUE(pipe);
  auto child = Child::start({.what = "one that is left behind"}, [] {
    ::pause();
    return 0;
  });
  ASSERT_TRUE(child);
  pipe->writer.reset();
  std::string text;
  EXPECT_TRUE(read_to_end(pipe->reader.get(), text, "the end", deadline_after(long_ns)));
  for (const char* stream : {"0", "1", "2"}) {
    char target[64] = {};
    const std::string link = formatted("/proc/{}/fd/{}", child->pid(), stream);
    const auto taken = wait_until(link, deadline_after(long_ns), [&] {
      return ::readlink(link.c_str(), target, sizeof(target) - 1) > 0 &&
             std::string(target) == "/dev/null";
    });
    EXPECT_TRUE(taken) << stream << " is " << target;
  }
}

TEST(Process, KeepsWhatItIsGiven) {
  auto pipe = make_pipe("for the test");
  auto other = make_pipe("for the test");
  ASSERT_TRUE(pipe && other);
  const int kept = pipe->writer.get();
  const int closed = other->writer.get();
  auto child = Child::start({.what = "a writer", .keep = {kept}}, [&] {
    return write_fully(kept, ::fcntl(closed, F_GETFD) < 0 ? "closed" : "open") ? 0 : 1;
  });
  ASSERT_TRUE(child);
  pipe->writer.reset();
  std::string text;
  EXPECT_TRUE(read_to_end(pipe->reader.get(), text, "the word", deadline_after(long_ns)));
  EXPECT_EQ(text, "closed");
}

TEST(Process, InterruptionEndsEveryWait) {
  EXPECT_EQ(code_of([] {
              handle_interrupts();
              if (interrupted()) return 1;
              ::raise(SIGINT);
              const auto waited = wait_until("ever", no_deadline_ns, [] { return false; });
              if (waited || waited.error().exit != ExitCode::interrupted) return 2;
              auto pipe = make_pipe("for the test");
              if (wait_readable(pipe->reader.get(), "ever", no_deadline_ns)) return 3;
              auto sleeper = Child::start({.what = "a sleeper"}, [] {
                ::pause();
                return 0;
              });
              const auto ended = sleeper->wait(no_deadline_ns);
              if (ended || ended.error().exit != ExitCode::interrupted) return 4;
              return waited.error().message() == "interrupted while waiting for ever" ? 0 : 5;
            }),
            0);
}

TEST(Process, CleaningUpIsNotInterrupted) {
  EXPECT_EQ(code_of([] {
              handle_interrupts();
              ::raise(SIGTERM);
              const Uninterrupted all_of_it;
              auto child = Child::start({.what = "a command"}, [] {
                ::usleep(soon_ns / 1000);
                return 9;
              });
              const auto status = child->wait(no_deadline_ns);
              return status && exit_code(*status) == 9 ? 0 : 1;
            }),
            0);
}

/// A child that is told to stop before it could look must still see it.
TEST(Process, NoSigtermIsLostAtTheStart) {
  for (int round = 0; round < 50; ++round) {
    auto child = Child::start({.what = "a load", .signals = Signals::sigterm_interrupts}, [] {
      return wait_until("to be stopped", deadline_after(long_ns), [] { return false; })
                         .error()
                         .exit == ExitCode::interrupted
                 ? 42
                 : 1;
    });
    ASSERT_TRUE(child);
    child->signal(SIGTERM);
    const auto status = child->wait(deadline_after(long_ns));
    ASSERT_TRUE(status);
    ASSERT_EQ(exit_code(*status), 42) << "round " << round;
  }
}

TEST(Process, AnInterruptedParentDoesNotInterruptItsChild) {
  EXPECT_EQ(code_of([] {
              handle_interrupts();
              auto child = Child::start(
                  {.what = "a child", .keep_all = true, .signals = Signals::standard}, [] {
                    handle_interrupts();
                    return wait_readable(interrupt_fd(), "an interruption", deadline_after(soon_ns))
                               ? 1
                               : 0;
                  });
              ::raise(SIGINT);
              const Uninterrupted until_it_ended;
              const auto status = child->wait(no_deadline_ns);
              return status ? exit_code(*status) : 2;
            }),
            0);
}

TEST(Process, LeftBehindIsReapedLater) {
  auto child = Child::start({.what = "a sleeper"}, [] {
    ::pause();
    return 0;
  });
  ASSERT_TRUE(child);
  (void)child->kill(0);
  EXPECT_TRUE(await_left_behind(long_ns));
}

}  // namespace
}  // namespace ublkbench::process

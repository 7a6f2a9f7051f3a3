// SPDX-License-Identifier: MIT
// The guest's side: runs the command, reaps everything, reports.

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "pipe.hpp"

namespace vm {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (const std::string& text : strings) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

[[noreturn]] void exec_command(const Command& command) {
  if (chdir(command.cwd.c_str()) < 0 && chdir("/") < 0) fail("chdir /");
  std::vector<char*> env = pointers(command.env);
  environ = env.data();
  if (char* cwd = getcwd(nullptr, 0)) setenv("PWD", cwd, 1);
  const char* program = command.argv[0].c_str();
  execvp(program, pointers(command.argv).data());
  std::fprintf(stderr, "vm: cannot run %s in the guest: %s\n", program, std::strerror(errno));
  std::_Exit(errno == ENOENT ? 127 : 126);
}

class Child {
 public:
  explicit Child(const Command& command) {
    if (command.interactive) {
      pid_ = forkpty(&output_[0], nullptr, nullptr, nullptr);
      if (pid_ == 0) start(command);
    } else {
      std::array<int, 2> out{};
      std::array<int, 2> err{};
      if (pipe2(out.data(), O_CLOEXEC) < 0 || pipe2(err.data(), O_CLOEXEC) < 0) fail("pipe");
      pid_ = fork();
      if (pid_ == 0) {
        setsid();
        dup2(open("/dev/null", O_RDONLY), 0);
        dup2(out[1], 1);
        dup2(err[1], 2);
        start(command);
      }
      close(out[1]);
      close(err[1]);
      output_ = {out[0], err[0]};
    }
    if (pid_ < 0) fail("fork");
    for (const int fd : output_) {
      if (fd >= 0) fcntl(fd, F_SETFL, O_NONBLOCK);
    }
  }

  [[nodiscard]] bool exited() const { return exited_; }
  [[nodiscard]] std::int32_t exit_code() const { return exit_code_; }
  [[nodiscard]] int output(std::size_t stream) const { return output_[stream]; }

  /// Also reaps what the command left behind.
  void reap() {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (pid != pid_) continue;
      exited_ = true;
      exit_code_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
  }

  /// Forwards one chunk. False: nothing is there now, or it was the end.
  bool forward_output(int port, std::size_t stream) {
    static std::array<std::uint8_t, payload_max> chunk;
    if (output_[stream] < 0) return false;
    const ssize_t count = read(output_[stream], chunk.data(), chunk.size());
    if (count > 0) {
      return send_frame(port, stream == 0 ? FrameType::out : FrameType::err, chunk.data(),
                        static_cast<std::uint32_t>(count));
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      close(output_[stream]);
      output_[stream] = -1;
    }
    return false;
  }

  void obey(const Frame& frame) const {
    if (frame.type == FrameType::input) {
      write_all(output_[0], frame.payload.data(), frame.size);
    } else if (frame.type == FrameType::window) {
      std::array<std::uint16_t, 2> size{};
      std::memcpy(size.data(), frame.payload.data(), sizeof size);
      const winsize window{size[0], size[1], 0, 0};
      ioctl(output_[0], TIOCSWINSZ, &window);
    } else if (frame.type == FrameType::signal) {
      kill(-pid_, frame.payload[0]);
    }
  }

 private:
  [[noreturn]] static void start(const Command& command) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    std::signal(SIGPIPE, SIG_DFL);
    exec_command(command);
  }

  pid_t pid_ = -1;
  std::array<int, 2> output_{-1, -1};  // stdout and stderr pipes; or the pty's master side and -1
  bool exited_ = false;
  std::int32_t exit_code_ = 0;
};

/// A device that hangs must not hold back the exit code: the flush gets ten seconds.
void flush_shares(const std::vector<std::string>& shares) {
  const pid_t pid = fork();
  if (pid == 0) {
    for (const std::string& path : shares) {
      const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY);
      if (fd >= 0) syncfs(fd);
    }
    std::_Exit(0);
  }
  const double deadline = seconds_now() + 10;
  while (pid > 0 && waitpid(pid, nullptr, WNOHANG) == 0 && seconds_now() < deadline) usleep(1000);
}

void serve(int port, Child& child) {
  static FrameReader reader;
  sigset_t none;
  sigemptyset(&none);
  while (!child.exited()) {
    std::array<pollfd, 3> fds{
        {{port, POLLIN, 0}, {child.output(0), POLLIN, 0}, {child.output(1), POLLIN, 0}}};
    if (ppoll(fds.data(), fds.size(), nullptr, &none) > 0) {
      for (std::size_t stream = 0; stream < 2; stream++) {
        if (fds[1 + stream].revents != 0) child.forward_output(port, stream);
      }
      if ((fds[0].revents & POLLIN) != 0 &&
          reader.read_from(port) == FrameReader::Outcome::complete) {
        child.obey(reader.frame());
      }
    }
    child.reap();
  }
  for (std::size_t stream = 0; stream < 2; stream++) {
    while (child.forward_output(port, stream)) {
    }
  }
}

}  // namespace

void run_command(int port, const Command& command) {
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_BLOCK, &children, nullptr);
  std::signal(SIGCHLD, [](int) {});  // interrupts ppoll()
  std::signal(SIGPIPE, SIG_IGN);

  send_frame(port, FrameType::started, "", 0);
  Child child(command);
  serve(port, child);
  flush_shares(command.shares);
  const std::int32_t exit_code = child.exit_code();
  send_frame(port, FrameType::exit, &exit_code, sizeof exit_code);
  sleep(10);  // the host ends the machine as soon as it has the exit code
  reboot(RB_POWER_OFF);
  std::_Exit(0);
}

}  // namespace vm

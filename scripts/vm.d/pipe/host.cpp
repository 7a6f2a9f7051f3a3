// SPDX-License-Identifier: MIT
// The host's side: starts QEMU, copies the command's output, and ends the machine: when the exit
// code is there, when time is up, or when a signal asks for it.

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "pipe.hpp"

namespace vm {
namespace {

constexpr int qemu_fd = 3;
constexpr double interrupt_grace_seconds = 3;
constexpr double notice_seconds = 10;
constexpr double never = 1e18;

std::atomic<int> signal_seen = 0;
std::atomic<bool> window_changed = false;
double hard_deadline = never;  // set once, before the timer that looks at it starts

void on_signal(int number) {
  if (number == SIGWINCH) {
    window_changed = true;
  } else if (number != SIGALRM || seconds_now() > hard_deadline) {
    signal_seen = number;
  }
}

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = on_signal;  // no SA_RESTART: blocking calls shall notice
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGALRM, SIGWINCH}) {
    sigaction(number, &action, nullptr);
  }
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGTTOU, SIG_IGN);
  const itimerval every_second{{1, 0}, {1, 0}};
  setitimer(ITIMER_REAL, &every_second, nullptr);
}

struct Options {
  const char* result_path = nullptr;
  const char* log_path = nullptr;  // QEMU's own stdout and stderr
  double boot_deadline = never;
  double deadline = never;
  bool interactive = false;
};

class Session {
 public:
  Session(const Options& options, char** machine) : options_(options) { start(machine); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  ~Session() {
    if (raw_) tcsetattr(0, TCSANOW, &saved_);
    kill(child_, SIGKILL);
    kill(-child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    // QEMU holds the other end of the socket, so the end of file proves that it is gone.
    std::array<std::uint8_t, 4096> rest;
    ssize_t count = 0;
    do {
      count = read(socket_, rest.data(), rest.size());
    } while (count > 0 || (count < 0 && errno == EINTR));
  }

  void serve() {
    static FrameReader reader;
    while (!over_) {
      if (signal_seen != 0) handle_signal();
      check_time();
      if (over_) return;
      if (started_ && window_changed.exchange(false)) send_window();
      const bool listening = options_.interactive && started_;
      std::array<pollfd, 2> fds{{{socket_, POLLIN, 0}, {listening ? 0 : -1, POLLIN, 0}}};
      if (poll(fds.data(), fds.size(), 1000) <= 0) continue;
      if (fds[1].revents != 0) forward_input();
      if (fds[0].revents == 0) continue;
      switch (reader.read_from(socket_)) {
        case FrameReader::Outcome::partial:
          break;
        case FrameReader::Outcome::complete:
          handle(reader.frame());
          break;
        case FrameReader::Outcome::end:
          end("died", 0);
          break;
      }
    }
  }

 private:
  void start(char** machine) {
    std::array<int, 2> pair{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) < 0) fail("socketpair");
    socket_ = pair[0];
    child_ = fork();
    if (child_ < 0) fail("fork");
    if (child_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setsid();  // Ctrl-C on the terminal is for the command in the guest, not for QEMU
      const int log = open(options_.log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
      const int null = open("/dev/null", O_RDONLY);
      if (dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) fail(options_.log_path);
      if (pair[1] == qemu_fd) fcntl(qemu_fd, F_SETFD, 0);
      if (dup2(pair[1], qemu_fd) < 0) fail("dup2");
      execvp(machine[0], machine);
      fail(machine[0]);
    }
    close(pair[1]);
  }

  void end(const char* verdict, int number) {
    over_ = true;
    FILE* file = std::fopen(options_.result_path, "w");
    if (file == nullptr) fail(options_.result_path);
    const double boot_seconds = (started_ ? booted_at_ : seconds_now()) - start_;
    std::fprintf(file, "%s %d %s %.0f\n", verdict, number, started_ ? "started" : "booting",
                 boot_seconds);
    std::fclose(file);
  }

  void handle(const Frame& frame) {
    if (frame.type == FrameType::started) {
      started_ = true;
      booted_at_ = seconds_now();
      if (options_.interactive) enter_raw_mode();
    } else if (frame.type == FrameType::out || frame.type == FrameType::err) {
      const int fd = frame.type == FrameType::out ? 1 : 2;
      if (!write_all(fd, frame.payload.data(), frame.size, &signal_seen) && signal_seen == 0) {
        end("signal", SIGPIPE);
      }
    } else if (frame.type == FrameType::exit) {
      std::int32_t code = 0;
      std::memcpy(&code, frame.payload.data(), sizeof code);
      interrupted() ? end("signal", SIGINT) : end("exit", code);
    }
  }

  /// Ctrl-C goes to the command first, which may print what it has; a second one, or the end of
  /// the grace, ends the machine.
  void handle_signal() {
    const int number = signal_seen.exchange(0);
    if (number == SIGALRM) return;  // time is up: check_time() says which
    if (number == SIGINT && started_ && !interrupted()) {
      interrupt_deadline_ = seconds_now() + interrupt_grace_seconds;
      const auto forwarded = static_cast<std::uint8_t>(number);
      send_frame(socket_, FrameType::signal, &forwarded, 1);
    } else {
      end("signal", number);
    }
  }

  void check_time() {
    const double now = seconds_now();
    if (over_) return;
    if (!started_ && now >= next_notice_) {
      std::fprintf(stderr, "vm: the guest boots (%.0f s of %.0f s)\n", now - start_,
                   options_.boot_deadline - start_);
      next_notice_ += notice_seconds;
    }
    if (now > interrupt_deadline_) {
      end("signal", SIGINT);
    } else if (!started_ && now > options_.boot_deadline) {
      end("boot-timeout", 0);
    } else if (now > options_.deadline) {
      end("timeout", 0);
    }
  }

  [[nodiscard]] bool interrupted() const { return interrupt_deadline_ < never; }

  void enter_raw_mode() {
    send_window();
    if (tcgetattr(0, &saved_) < 0) return;
    termios raw = saved_;
    cfmakeraw(&raw);
    raw_ = tcsetattr(0, TCSANOW, &raw) == 0;
  }

  void send_window() const {
    winsize size{};
    if (ioctl(0, TIOCGWINSZ, &size) < 0) return;
    const std::array<std::uint16_t, 2> window{size.ws_row, size.ws_col};
    send_frame(socket_, FrameType::window, window.data(), sizeof window);
  }

  void forward_input() {
    std::array<std::uint8_t, 1024> chunk;
    const ssize_t count = read(0, chunk.data(), chunk.size());
    if (count > 0) {
      send_frame(socket_, FrameType::input, chunk.data(), static_cast<std::uint32_t>(count));
    } else if (count == 0 || errno != EINTR) {
      options_.interactive = false;
    }
  }

  Options options_;
  double start_ = seconds_now();
  double next_notice_ = start_ + notice_seconds;
  double booted_at_ = never;
  double interrupt_deadline_ = never;
  bool started_ = false;
  bool over_ = false;
  pid_t child_ = -1;
  int socket_ = -1;
  termios saved_{};
  bool raw_ = false;
};

}  // namespace

int run_host(int argc, char** argv) {
  Options options;
  for (int option; (option = getopt(argc, argv, "+b:t:r:l:i")) != -1;) {
    switch (option) {
      case 'b':
        options.boot_deadline = seconds_now() + std::atof(optarg);
        break;
      case 't':
        options.deadline = seconds_now() + std::atof(optarg);
        break;
      case 'r':
        options.result_path = optarg;
        break;
      case 'l':
        options.log_path = optarg;
        break;
      case 'i':
        options.interactive = true;
        break;
      default:
        return 64;
    }
  }
  if (optind >= argc || options.result_path == nullptr || options.log_path == nullptr) return 64;
  hard_deadline = options.deadline;
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  catch_signals();
  Session(options, argv + optind).serve();
  return 0;
}

}  // namespace vm

// SPDX-License-Identifier: MIT
#include "bench/control/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "bench/base/clock.hpp"
#include "bench/base/fd.hpp"
#include "bench/ring/ring.hpp"

namespace ublkbench::control {
namespace {

constexpr const char* control_path = "/dev/ublk-control";

Result<Fd> open_control() {
  auto fd = open_file(control_path, O_RDWR);
  if (fd) return fd;
  switch (fd.error().errnum) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return std::unexpected(fd.error().with_hint(
          "no ublk driver: try 'modprobe ublk_drv' (Linux 6.0 or later), or use scripts/vm, which "
          "boots a kernel that has it"));
    case EACCES:
    case EPERM:
      return std::unexpected(fd.error().with_hint(
          "run as root; docs/life-cycle.md has the udev rule that lets other users in"));
    default:
      return fd;
  }
}

/// What the driver reads and writes: the payload, behind the device's path where it wants one.
class Message {
 public:
  explicit Message(const Command& command) : payload_(command.payload) {
    const std::string& path = command.device_path;
    path_bytes_ = path.size();
    if (path.empty()) return;
    bytes_.resize(path.size() + payload_.size());
    std::memcpy(bytes_.data(), path.data(), path.size());
    if (!payload_.empty())
      std::memcpy(bytes_.data() + path.size(), payload_.data(), payload_.size());
  }

  void put_into(ublksrv_ctrl_cmd& header) {
    const std::span<std::byte> all = bytes_.empty() ? payload_ : std::span(bytes_);
    if (all.empty()) return;
    header.addr = reinterpret_cast<std::uintptr_t>(all.data());
    header.len = static_cast<std::uint16_t>(all.size());
    header.dev_path_len = static_cast<std::uint16_t>(path_bytes_);
  }
  void take_payload() {
    if (!bytes_.empty() && !payload_.empty())
      std::memcpy(payload_.data(), bytes_.data() + path_bytes_, payload_.size());
  }

 private:
  std::span<std::byte> payload_;
  std::size_t path_bytes_ = 0;
  std::vector<std::byte> bytes_;
};

/// The negative errno or non-negative result that the driver answers with.
Result<int> submit_and_wait(const Command& command, RingKind kind) {
  auto fd = open_control();
  if (!fd) return std::unexpected(fd.error());
  auto ring = Ring::create({.sq_entries = 2, .iopoll = kind == RingKind::polling, .sqe128 = true});
  if (!ring) return std::unexpected(ring.error());

  io_uring_sqe* sqe = ring->sqe();
  std::memset(sqe, 0, 2 * sizeof(*sqe));
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = fd->get();
  sqe->cmd_op = command.op;
  ublksrv_ctrl_cmd header = command.header;
  Message message(command);
  message.put_into(header);
  std::memcpy(sqe->cmd, &header, sizeof(header));

  int result = -EINTR;
  bool completed = false;
  while (!completed) {
    const int ret = ring->submit(1);
    if (ret < 0 && ret != -EINTR) return failed("io_uring_enter", command.name, -ret);
    ring->reap([&](const io_uring_cqe& cqe) {
      result = cqe.res;
      completed = true;
    });
  }
  message.take_payload();
  return result;
}

struct Answer {
  int result;
  int setup_errnum;  // the command was never sent: why
};

/// Runs in the child; writes the answer and the payload, and never returns.
[[noreturn]] void child_main(const Command& command, int pipe_fd) {
  Answer answer{};
  if (auto result = submit_and_wait(command, RingKind::plain)) {
    answer.result = *result;
  } else {
    answer.setup_errnum = result.error().errnum != 0 ? result.error().errnum : EIO;
  }
  std::vector<std::byte> message(sizeof(answer) + command.payload.size());
  std::memcpy(message.data(), &answer, sizeof(answer));
  if (!command.payload.empty())
    std::memcpy(message.data() + sizeof(answer), command.payload.data(), command.payload.size());
  const ssize_t written = ::write(pipe_fd, message.data(), message.size());
  ::_exit(written == static_cast<ssize_t>(message.size()) ? 0 : 1);
}

/// Reads until `message` is full, the writer is gone (false) or the deadline passed (ETIMEDOUT).
Result<bool> read_fully(int fd, std::span<std::byte> message, std::uint64_t deadline_ns) {
  std::size_t have = 0;
  while (have < message.size()) {
    const std::uint64_t now = now_ns();
    if (now >= deadline_ns) return failed("wait", {}, ETIMEDOUT);
    pollfd poller{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&poller, 1, static_cast<int>((deadline_ns - now) / 1'000'000 + 1));
    if (ready <= 0) continue;
    const ssize_t got = ::read(fd, message.data() + have, message.size() - have);
    if (got == 0) return false;
    if (got > 0) have += static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

Result<int> issue_inline(const Command& command, RingKind kind) {
  return submit_and_wait(command, kind);
}

Result<int> issue_bounded(const Command& command, std::uint64_t timeout_ns) {
  // Opened here only to name a missing driver or permission before a child is made.
  if (auto fd = open_control(); !fd) return std::unexpected(fd.error());
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failed("pipe", {}, errno);
  Fd reader(ends[0]);
  Fd writer(ends[1]);

  const pid_t child = ::fork();
  if (child < 0) return failed("fork", "for " + command.name, errno);
  if (child == 0) {
    reader.reset();
    child_main(command, writer.get());
  }
  writer.reset();

  std::vector<std::byte> message(sizeof(Answer) + command.payload.size());
  const auto complete = read_fully(reader.get(), message, now_ns() + timeout_ns);
  if (!complete) {
    ::kill(child, SIGKILL);  // ends waits that can be ended; a child in D state stays behind
    ::usleep(100'000);
    ::waitpid(child, nullptr, WNOHANG);
    return failed(command.name, std::format("on ublk device {}", command.header.dev_id), ETIMEDOUT,
                  std::format("the driver gave no answer in {} s: it waits for I/O that the server "
                              "holds, or for someone who has the device open",
                              timeout_ns / 1'000'000'000));
  }
  ::waitpid(child, nullptr, 0);
  if (!*complete) return failed(command.name, "child process died", EIO);
  Answer answer{};
  std::memcpy(&answer, message.data(), sizeof(answer));
  if (answer.setup_errnum != 0)
    return failed(command.name, "could not be sent", answer.setup_errnum);
  if (!command.payload.empty())
    std::memcpy(command.payload.data(), message.data() + sizeof(answer), command.payload.size());
  return answer.result;
}

}  // namespace ublkbench::control

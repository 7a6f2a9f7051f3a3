// SPDX-License-Identifier: MIT
#include "bench/control/command.hpp"

#include <fcntl.h>

#include <cstring>
#include <string>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/format.hpp"
#include "bench/control/driver_advice.hpp"
#include "bench/process/child.hpp"
#include "bench/process/wait.hpp"
#include "bench/ring/ring.hpp"

namespace ublkbench::control {
Result<Fd> open_control() {
  auto fd = open_file(control_path, O_RDWR);
  if (fd) return fd;
  switch (fd.error().errnum) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return std::unexpected(fd.error().with_hint(missing_driver_advice()));
    case EACCES:
    case EPERM:
      return std::unexpected(fd.error().with_hint(
          "run as root; docs/life-cycle.md has the udev rule that lets other users in"));
    default:
      return fd;
  }
}

namespace {

constexpr std::uint64_t stuck_child_ns = 100'000'000;

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

/// In the child: what the driver answered, and the payload behind it.
std::string ask(const Command& command) {
  Answer answer{};
  if (auto result = submit_and_wait(command, RingKind::plain)) {
    answer.result = *result;
  } else {
    answer.setup_errnum = result.error().errnum != 0 ? result.error().errnum : EIO;
  }
  std::string message(sizeof(answer) + command.payload.size(), '\0');
  std::memcpy(message.data(), &answer, sizeof(answer));
  if (!command.payload.empty())
    std::memcpy(message.data() + sizeof(answer), command.payload.data(), command.payload.size());
  return message;
}

/// What a command waits for in the driver. All but ADD_DEV and DEL_DEV hold ub->mutex while they
/// do, these two ublk_ctl_mutex.
std::string_view wait_of(std::uint32_t op) {
  switch (op) {
    case UBLK_U_CMD_START_DEV:
    case UBLK_U_CMD_END_USER_RECOVERY:
      return "its server has not handed all io commands to the driver";
    case UBLK_U_CMD_STOP_DEV:
    case UBLK_U_CMD_TRY_STOP_DEV:
    case UBLK_U_CMD_DEL_DEV:
    case UBLK_U_CMD_DEL_DEV_ASYNC:
      return "the disk goes away when the I/O is completed that its server holds; ending the "
             "server process does that";
    default:
      return "another control command is in its way, which waits for a server; 'ublk-dump' says "
             "which";
  }
}

std::unexpected<Error> unanswered(const Command& command, std::uint64_t timeout_ns) {
  const auto id = static_cast<int>(command.header.dev_id);
  return failed(command.name, id < 0 ? "of a new ublk device" : formatted("on ublk device {}", id),
                ETIMEDOUT,
                formatted("the driver gave no answer in {} s: {}", timeout_ns / 1'000'000'000,
                          wait_of(command.op)));
}

}  // namespace

Result<int> issue_inline(const Command& command, RingKind kind) {
  return submit_and_wait(command, kind);
}

Result<int> issue_bounded(const Command& command, std::uint64_t timeout_ns) {
  // Opened here only to name a missing driver or permission before a child is made.
  if (auto fd = open_control(); !fd) return std::unexpected(fd.error());
  const std::string what = formatted("the driver's answer to {}", command.name);
  auto pipe = process::make_pipe(what);
  if (!pipe) return std::unexpected(pipe.error());
  auto child = process::Child::start({.what = what, .keep = {pipe->writer.get()}}, [&] {
    return process::write_fully(pipe->writer.get(), ask(command)) ? 0 : 1;
  });
  if (!child) return std::unexpected(child.error());
  pipe->writer.reset();

  std::string message;
  const auto heard =
      process::read_to_end(pipe->reader.get(), message, what, process::deadline_after(timeout_ns));
  // Ends waits that can be ended; a child that sleeps in the driver stays behind.
  (void)child->kill(stuck_child_ns);
  if (!heard && heard.error().errnum == ETIMEDOUT) return unanswered(command, timeout_ns);
  if (!heard) return std::unexpected(heard.error());
  Answer answer{};
  if (message.size() != sizeof(answer) + command.payload.size())
    return failed(command.name, "child process died", EIO);
  std::memcpy(&answer, message.data(), sizeof(answer));
  if (answer.setup_errnum != 0)
    return failed(command.name, "could not be sent", answer.setup_errnum);
  if (!command.payload.empty())
    std::memcpy(command.payload.data(), message.data() + sizeof(answer), command.payload.size());
  return answer.result;
}

}  // namespace ublkbench::control

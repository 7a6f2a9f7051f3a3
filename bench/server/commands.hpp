// SPDX-License-Identifier: MIT
// SQEs of the commands to /dev/ublkcN. Each fills all eight words of the SQE, so that no clearing
// is needed and nothing of an earlier use can leak in.
#pragma once

#include <liburing.h>
#include "bench/control/uapi.hpp"

#include <cstddef>
#include <cstdint>

namespace ublkbench {

/// IORING_URING_CMD_MULTISHOT (Linux 6.18), which liburing 2.9's header does not have yet.
inline constexpr std::uint32_t uring_cmd_multishot = 1U << 1;

/// The first word of an SQE for a command to one device: operation, flags, and where the device's
/// file is in the ring's table. Made once for each io command, not for each use.
enum class CommandWord : std::uint64_t {};

constexpr CommandWord command_word(unsigned file, std::uint8_t sqe_flags = 0) {
  return CommandWord{static_cast<std::uint64_t>(IORING_OP_URING_CMD) |
                     static_cast<std::uint64_t>(sqe_flags | IOSQE_FIXED_FILE) << 8 |
                     static_cast<std::uint64_t>(file) << 32};
}

/// The same with a file descriptor, for a file that must not be in the ring's table.
constexpr CommandWord plain_command_word(int file) {
  return CommandWord{static_cast<std::uint64_t>(IORING_OP_URING_CMD) |
                     static_cast<std::uint64_t>(static_cast<std::uint32_t>(file)) << 32};
}

namespace detail {

inline std::uint64_t* words(io_uring_sqe* sqe) { return reinterpret_cast<std::uint64_t*>(sqe); }

inline void fill_command(io_uring_sqe* sqe, CommandWord first, std::uint32_t op,
                         std::uint64_t sqe_address, std::uint32_t command_flags,
                         std::uint16_t buffer_group, std::uint64_t user_data) {
  static_assert(sizeof(io_uring_sqe) == 64 && offsetof(io_uring_sqe, cmd) == 48);
  std::uint64_t* const word = words(sqe);
  word[0] = static_cast<std::uint64_t>(first);
  word[1] = op;  // cmd_op and its padding, which must be zero
  word[2] = sqe_address;
  word[3] = static_cast<std::uint64_t>(command_flags) << 32;
  word[4] = user_data;
  word[5] = buffer_group;  // buf_index/buf_group, personality, splice_fd_in
}

}  // namespace detail

/// FETCH_REQ, COMMIT_AND_FETCH_REQ, REGISTER_IO_BUF or UNREGISTER_IO_BUF.
/// `address` is ublksrv_io_cmd::addr; `auto_register` the encoded struct ublk_auto_buf_reg.
inline void prep_io_command(io_uring_sqe* sqe, CommandWord device, std::uint32_t op,
                            std::uint16_t queue, std::uint16_t tag, std::int32_t result,
                            std::uint64_t address, std::uint64_t auto_register,
                            std::uint64_t user_data) {
  static_assert(sizeof(ublksrv_io_cmd) == 16);
  detail::fill_command(sqe, device, op, auto_register, 0, 0, user_data);
  std::uint64_t* const word = detail::words(sqe);
  word[6] = static_cast<std::uint64_t>(queue) | static_cast<std::uint64_t>(tag) << 16 |
            static_cast<std::uint64_t>(static_cast<std::uint32_t>(result)) << 32;
  word[7] = address;
}

/// PREP_IO_CMDS or COMMIT_IO_CMDS on `elements`, which the kernel reads during submission.
inline void prep_batch_command(io_uring_sqe* sqe, unsigned file, std::uint32_t op,
                               std::uint16_t queue, const void* elements, std::uint16_t count,
                               std::uint8_t element_bytes, std::uint16_t flags,
                               std::uint64_t user_data) {
  static_assert(sizeof(ublk_batch_io) == 16);
  detail::fill_command(sqe, command_word(file), op, reinterpret_cast<std::uintptr_t>(elements), 0,
                       0, user_data);
  std::uint64_t* const word = detail::words(sqe);
  word[6] = static_cast<std::uint64_t>(queue) | static_cast<std::uint64_t>(flags) << 16 |
            static_cast<std::uint64_t>(count) << 32 |
            static_cast<std::uint64_t>(element_bytes) << 48;
  word[7] = 0;
}

/// FETCH_IO_CMDS: multishot, tags go to provided buffers of group `buffer_group`.
inline void prep_batch_fetch(io_uring_sqe* sqe, unsigned file, std::uint16_t queue,
                             std::uint16_t buffer_group, std::uint64_t user_data) {
  detail::fill_command(sqe, command_word(file, IOSQE_BUFFER_SELECT), UBLK_U_IO_FETCH_IO_CMDS, 0,
                       uring_cmd_multishot, buffer_group, user_data);
  std::uint64_t* const word = detail::words(sqe);
  word[6] = static_cast<std::uint64_t>(queue) | static_cast<std::uint64_t>(sizeof(std::uint16_t))
                                                    << 48;
  word[7] = 0;
}

}  // namespace ublkbench

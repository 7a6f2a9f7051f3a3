// SPDX-License-Identifier: MIT
// The SQEs that targets on files share. `file` counts the target's own files.
#pragma once

#include <sys/uio.h>

#include <span>

#include "bench/targets/target.hpp"

namespace ublkbench {

// Linux 6.15, as are buffers that the kernel registers; liburing 2.9's header has neither.
inline constexpr std::uint8_t op_readv_fixed = 60;
inline constexpr std::uint8_t op_writev_fixed = 61;

/// Reads or writes the request's data at the request's offset.
inline void queue_transfer(Chain& chain, int file, const Request& request, const Data& data) {
  io_uring_sqe* const sqe = chain.step();
  const bool write = request.op == Op::write;
  if (data.place == Data::Place::registered) {
    if (write)
      io_uring_prep_write_fixed(sqe, chain.file(file), data.memory, request.bytes, request.offset,
                                data.index);
    else
      io_uring_prep_read_fixed(sqe, chain.file(file), data.memory, request.bytes, request.offset,
                               data.index);
  } else {
    if (write)
      io_uring_prep_write(sqe, chain.file(file), data.memory, request.bytes, request.offset);
    else
      io_uring_prep_read(sqe, chain.file(file), data.memory, request.bytes, request.offset);
  }
  if (request.fua) sqe->rw_flags = RWF_DSYNC;
  sqe->flags |= IOSQE_FIXED_FILE;
  chain.queued(sqe, StepKind::data);
}

/// One of several reads or writes that make up a request, on the pieces of its data that `vector`
/// names; the kernel copies the vector when it takes the SQE. `bytes` is their sum.
inline void queue_vector(Chain& chain, int file, const Request& part, const Data& data,
                         std::span<const iovec> vector, std::uint64_t bytes) {
  io_uring_sqe* const sqe = chain.step();
  const bool write = part.op == Op::write;
  const auto count = static_cast<unsigned>(vector.size());
  if (write)
    io_uring_prep_writev(sqe, chain.file(file), vector.data(), count, part.offset);
  else
    io_uring_prep_readv(sqe, chain.file(file), vector.data(), count, part.offset);
  if (data.place == Data::Place::registered) {
    sqe->opcode = write ? op_writev_fixed : op_readv_fixed;
    sqe->buf_index = data.index;
  }
  if (part.fua) sqe->rw_flags = RWF_DSYNC;
  sqe->flags |= IOSQE_FIXED_FILE;
  chain.queued_whole(sqe, bytes);
}

inline void queue_fallocate(Chain& chain, int file, int mode, std::uint64_t offset,
                            std::uint64_t bytes) {
  io_uring_sqe* const sqe = chain.service_step();
  io_uring_prep_fallocate(sqe, chain.file(file), mode, offset, bytes);
  sqe->flags |= IOSQE_FIXED_FILE;
  chain.queued(sqe, StepKind::service);
}

inline void queue_datasync(Chain& chain, int file) {
  io_uring_sqe* const sqe = chain.service_step();
  io_uring_prep_fsync(sqe, chain.file(file), IORING_FSYNC_DATASYNC);
  sqe->flags |= IOSQE_FIXED_FILE;
  chain.queued(sqe, StepKind::service);
}

}  // namespace ublkbench

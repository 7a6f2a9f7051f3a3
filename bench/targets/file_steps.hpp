// SPDX-License-Identifier: MIT
// The SQEs that targets on files share. `file` counts the target's own files.
#pragma once

#include "bench/targets/target.hpp"

namespace ublkbench {

/// Reads or writes the request's data at the request's offset.
inline void queue_transfer(Chain& chain, int file, const Request& request, const Data& data) {
  io_uring_sqe* const sqe = chain.step();
  const bool write = request.op == Op::write;
  if (data.place == Data::Place::registered) {
    // Address 0 is the start of the buffer that the kernel registered (io_uring/rsrc.c,
    // io_import_reg_buf: kernel buffers are addressed by offset).
    if (write)
      io_uring_prep_write_fixed(sqe, chain.file(file), nullptr, request.bytes, request.offset, data.index);
    else
      io_uring_prep_read_fixed(sqe, chain.file(file), nullptr, request.bytes, request.offset, data.index);
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

inline void queue_fallocate(Chain& chain, int file, int mode, const Request& request) {
  io_uring_sqe* const sqe = chain.service_step();
  io_uring_prep_fallocate(sqe, chain.file(file), mode, request.offset, request.bytes);
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

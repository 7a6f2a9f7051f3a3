// SPDX-License-Identifier: MIT
#include "bench/server/removed_files.hpp"

#include <poll.h>

#include "bench/process/wait.hpp"
#include "bench/ring/ring.hpp"

namespace ublkbench {

bool frees_removed_files() {
  auto waiting = process::make_pipe("a trial");
  auto removed = process::make_pipe("a trial");
  if (!waiting || !removed) return true;
  auto ring = Ring::create({.sq_entries = 2});
  const int files[] = {waiting->reader.get(), removed->writer.get()};
  if (!ring || !ring->register_files(files, 2)) return true;
  // A request that goes on, with the first file; the second file is nobody's then but the table's.
  io_uring_sqe* const sqe = ring->sqe();
  io_uring_prep_poll_add(sqe, 0, POLLIN);
  sqe->flags |= IOSQE_FIXED_FILE;
  if (ring->submit(0) < 0) return true;
  ring->forget_file(1);
  removed->writer.reset();
  pollfd closed{.fd = removed->reader.get(), .events = 0, .revents = 0};
  return ::poll(&closed, 1, 0) == 1 && (closed.revents & POLLHUP) != 0;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// What a server must not do with its descriptors, buffers and device.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>

#include "tests/hanglab/server/server.hpp"

namespace hanglab {

void Server::keep_by_child() const {
  if (options_.keep.empty() || fork() != 0) return;
  if (options_.keep == "char" || options_.keep == "map") close(ring_.ring_fd);
  if (options_.keep == "map") close(file_);
  if (options_.keep == "ring") {
    // The io descriptors' mapping would keep the char device too.
    munmap(const_cast<ublksrv_io_desc*>(descriptors_), 4096);
    close(file_);
  }
  prctl(PR_SET_NAME, "keeper");
  for (int fd = 0; fd < 3; ++fd) close(fd);
  while (true) pause();
}

void Server::commit_held() {
  release_held = 0;
  // Gives leaked buffers back; without that, killing this server wedges the kernel
  // (CANCEL_LIVELOCK).
  if (options_.register_only || !options_.leak.empty()) {
    for (io_uring* ring : {&ring_, &second_, &third_}) {
      if (ring->ring_fd > 0) io_uring_unregister_buffers(ring);
    }
    return;
  }
  for (const unsigned tag : held_) finish(tag);
  held_.clear();
  options_.hold = 0;
}

void Server::register_buffer(unsigned tag) {
  if (options_.leak == "thread") {
    std::thread([this, tag] {
      make_ring(third_);
      register_in(third_, tag);
      io_uring_submit_and_wait(&third_, 1);
      io_uring_sqe* const wake = io_uring_get_sqe(&third_);
      io_uring_prep_msg_ring(wake, ring_.ring_fd, 0,
                             static_cast<std::uint64_t>(Kind::buffer) << 32 | tag, 0);
      io_uring_submit(&third_);
      while (true) pause();
    }).detach();
    return;
  }
  if (options_.leak != "second") return register_in(ring_, tag);
  register_in(second_, tag);
  io_uring_submit_and_wait(&second_, 1);
  finish(tag);
}

void Server::register_in(io_uring& ring, unsigned tag) const {
  io_command(ring, UBLK_U_IO_REGISTER_IO_BUF, tag, 0, tag, Kind::buffer);
}

// The read goes through the page cache: that wait ends with a kill, so that the case can be undone.
// Opening waits for open_mutex while the partition scan, which has it, waits for us: that does not.
void Server::use_own_device() {
  const bool reads = options_.self == "read";
  options_.self.clear();
  const std::string path = "/dev/ublkb" + std::to_string(options_.id);
  const int disk = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (disk < 0) fail("open the block device", errno);
  std::byte data[4096];
  if (reads && pread(disk, data, sizeof data, device_bytes / 2) < 0)
    fail("read the block device", errno);
  close(disk);
}

}  // namespace hanglab

// SPDX-License-Identifier: MIT
// Batch delivery, with a fetch command too few or provided buffers that run out.
#include <cstdio>
#include <cstring>

#include "tests/hanglab/server/server.hpp"

namespace hanglab {

namespace {
constexpr std::uint32_t multishot = 1U << 1;  // IORING_URING_CMD_MULTISHOT, not in liburing 2.9
}  // namespace

void Server::batch_command(std::uint32_t op, unsigned count, Kind kind) {
  io_uring_sqe* const entry = sqe(ring_, op, kind, 0);
  entry->addr = reinterpret_cast<std::uintptr_t>(elements_.data());
  ublk_batch_io header{};
  header.nr_elem = static_cast<std::uint16_t>(count);
  header.elem_bytes = copies() ? 16 : 8;
  header.flags = copies() ? UBLK_BATCH_F_HAS_BUF_ADDR : 0;
  std::memcpy(entry->cmd, &header, sizeof header);
  io_uring_submit(&ring_);  // reads the elements
}

void Server::batch_element(unsigned place, unsigned tag, int result) {
  const std::size_t bytes = copies() ? 16 : 8;
  ublk_elem_header element{};
  element.tag = static_cast<std::uint16_t>(tag);
  element.buf_index = static_cast<std::uint16_t>(tag);
  element.result = result;
  std::memcpy(&elements_[place * bytes], &element, sizeof element);
  const auto address = reinterpret_cast<std::uintptr_t>(buffers_ + std::size_t{tag} * max_io_bytes);
  if (copies()) std::memcpy(&elements_[place * bytes + 8], &address, sizeof address);
}

void Server::batch_commit(unsigned tag, int result) {
  batch_element(0, tag, result);
  batch_command(UBLK_U_IO_COMMIT_IO_CMDS, 1, Kind::commit);
}

void Server::batch_start() {
  for (unsigned tag = 0; tag < depth_; ++tag) batch_element(tag, tag, 0);
  batch_command(UBLK_U_IO_PREP_IO_CMDS, depth_, Kind::prep);
  if (options_.batch == "none") return;
  int error = 0;
  buffer_ring_ = io_uring_setup_buf_ring(&ring_, 2, 0, 0, &error);
  if (buffer_ring_ == nullptr) fail("buffer ring", error);
  give_buffer();
  io_uring_sqe* const entry = sqe(ring_, UBLK_U_IO_FETCH_IO_CMDS, Kind::fetch, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->uring_cmd_flags = multishot;
  ublk_batch_io header{};
  header.elem_bytes = sizeof(std::uint16_t);
  std::memcpy(entry->cmd, &header, sizeof header);
  io_uring_submit(&ring_);
}

void Server::give_buffer() {
  io_uring_buf_ring_add(buffer_ring_, fetched_tags_.data(), 4096, 0, io_uring_buf_ring_mask(2), 0);
  io_uring_buf_ring_advance(buffer_ring_, 1);
}

void Server::batch_fetched(int result, std::uint32_t flags) {
  if (result < 0) {
    std::fprintf(stderr, "bad_server: fetch command ended: %d\n", result);
    return;
  }
  if ((flags & IORING_CQE_F_BUFFER) == 0) return;
  const std::vector<std::uint16_t> tags(fetched_tags_.begin(), fetched_tags_.begin() + result / 2);
  if (options_.batch != "starved") give_buffer();
  for (const std::uint16_t tag : tags) request(tag);
}

}  // namespace hanglab

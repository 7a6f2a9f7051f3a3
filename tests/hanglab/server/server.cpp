// SPDX-License-Identifier: MIT
#include "tests/hanglab/server/server.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/hanglab/server/control.hpp"

namespace hanglab {

volatile std::sig_atomic_t release_held = 0;
volatile std::sig_atomic_t tell = 0;

void Server::add() {
  ublksrv_ctrl_dev_info info{};
  info.nr_hw_queues = 1;
  info.queue_depth = static_cast<std::uint16_t>(depth_);
  info.max_io_buf_bytes = max_io_bytes;
  info.dev_id = static_cast<std::uint32_t>(options_.id);
  info.flags = options_.flags | UBLK_F_CMD_IOCTL_ENCODE;
  if (int error = control(UBLK_U_CMD_ADD_DEV, options_.id, &info, sizeof info, 0); error != 0)
    fail("ADD_DEV", error);
  options_.id = static_cast<int>(info.dev_id);
  flags_ = info.flags;
  ublk_params parameters{};
  parameters.len = sizeof parameters;
  parameters.types = UBLK_PARAM_TYPE_BASIC;
  parameters.basic.logical_bs_shift = 9;
  parameters.basic.physical_bs_shift = parameters.basic.io_opt_shift =
      parameters.basic.io_min_shift = 12;
  parameters.basic.max_sectors = max_io_bytes >> 9;
  parameters.basic.dev_sectors = device_bytes >> 9;
  if (int error = control(UBLK_U_CMD_SET_PARAMS, options_.id, &parameters, sizeof parameters, 0);
      error != 0)
    fail("SET_PARAMS", error);
}

void Server::take_over() {
  ublksrv_ctrl_dev_info info{};
  if (int error = control(UBLK_U_CMD_GET_DEV_INFO, options_.id, &info, sizeof info, 0); error != 0)
    fail("GET_DEV_INFO", error);
  depth_ = info.queue_depth;
  flags_ = info.flags;
  if (int error = control(UBLK_U_CMD_START_USER_RECOVERY, options_.id, nullptr, 0, 0); error != 0)
    fail("START_USER_RECOVERY", error);
}

void Server::open_device() {
  const std::string path = "/dev/ublkc" + std::to_string(options_.id);
  for (int attempt = 0; (file_ = open(path.c_str(), O_RDWR | O_CLOEXEC)) < 0 && attempt < 500;
       ++attempt)
    usleep(10'000);
  if (file_ < 0) fail("open the char device", errno);
  const std::size_t bytes = (depth_ * sizeof(ublksrv_io_desc) + 4095) / 4096 * 4096;
  void* const mapped =
      mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, file_, UBLKSRV_CMD_BUF_OFFSET);
  if (mapped == MAP_FAILED) fail("map io descriptors", errno);
  descriptors_ = static_cast<const volatile ublksrv_io_desc*>(mapped);
  buffers_ =
      static_cast<std::byte*>(mmap(nullptr, std::size_t{depth_} * max_io_bytes,
                                   PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (options_.store)
    store_ = static_cast<std::byte*>(mmap(nullptr, device_bytes, PROT_READ | PROT_WRITE,
                                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  make_ring(ring_);
  if (options_.leak == "second") make_ring(second_);
}

void Server::fetch_all() {
  if (batch()) return batch_start();
  const unsigned count = options_.fetch != 0 ? options_.fetch : depth_;
  for (unsigned tag = 0; tag < count; ++tag) command(UBLK_U_IO_FETCH_REQ, tag, 0);
  io_uring_submit(&ring_);
}

void Server::start(std::uint32_t op) {
  keep_by_child();
  const int result = control(op, options_.id, nullptr, 0, static_cast<std::uint64_t>(getpid()));
  if (result != 0) fail("START_DEV or END_USER_RECOVERY", result);
  std::printf("ready %d\n", options_.id);
  std::fflush(stdout);
}

void Server::serve() {
  if (options_.idle == "nap") {
    while (true) pause();
  }
  if (options_.idle == "spin") {
    while (release_held == 0) {  // a volatile read: the loop is not optimised away
    }
  }
  while (true) {
    if (options_.idle != "unsubmitted")
      io_uring_submit(&ring_);
    else
      io_uring_smp_store_release(ring_.sq.ktail,
                                 ring_.sq.sqe_tail);  // as far as the kernel can see
    io_uring_cqe* cqe = nullptr;
    const int error = io_uring_wait_cqe(&ring_, &cqe);
    if (release_held != 0) commit_held();
    if (tell != 0) print_account();
    if (error == -EINTR) continue;
    if (error != 0) fail("wait", error);
    const auto data = cqe->user_data;
    const int result = cqe->res;
    const std::uint32_t flags = cqe->flags;
    io_uring_cqe_seen(&ring_, cqe);
    completed(static_cast<Kind>(data >> 32), static_cast<unsigned>(data & 0xffff), result, flags);
  }
}

void Server::make_ring(io_uring& ring) const {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_CQSIZE;
  if (options_.defer) parameters.flags |= IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
  parameters.cq_entries = options_.cq != 0 ? options_.cq : 2 * std::max(depth_, 4U);
  const unsigned entries =
      options_.cq != 0 ? std::min(options_.cq, std::max(depth_, 4U)) : std::max(depth_, 4U);
  if (int error = io_uring_queue_init_params(entries, &ring, &parameters); error != 0)
    fail("io_uring", error);
  if (int error = io_uring_register_files(&ring, &file_, 1); error != 0)
    fail("register file", error);
  if (int error = io_uring_register_buffers_sparse(&ring, depth_); error != 0)
    fail("register buffers", error);
}

io_uring_sqe* Server::sqe(io_uring& ring, std::uint32_t op, Kind kind, unsigned tag) const {
  io_uring_sqe* entry = io_uring_get_sqe(&ring);
  if (entry == nullptr) {
    io_uring_submit(&ring);
    entry = io_uring_get_sqe(&ring);
  }
  if (entry == nullptr) fail("get an SQE", EBUSY);
  std::memset(static_cast<void*>(entry), 0, sizeof *entry);
  entry->opcode = IORING_OP_URING_CMD;
  entry->flags = IOSQE_FIXED_FILE;
  entry->cmd_op = op;
  entry->user_data = static_cast<std::uint64_t>(kind) << 32 | tag;
  return entry;
}

void Server::io_command(io_uring& ring, std::uint32_t op, unsigned tag, int result,
                        std::uint64_t address, Kind kind) const {
  io_uring_sqe* const entry = sqe(ring, op, kind, tag);
  ublksrv_io_cmd command{};
  command.tag = static_cast<std::uint16_t>(tag);
  command.result = result;
  command.addr = address;
  std::memcpy(entry->cmd, &command, sizeof command);
  if ((flags_ & UBLK_F_AUTO_BUF_REG) != 0 && kind == Kind::io) entry->addr = tag;
}

void Server::command(std::uint32_t op, unsigned tag, int result) {
  const auto address =
      copies() ? reinterpret_cast<std::uintptr_t>(buffers_ + std::size_t{tag} * max_io_bytes) : 0;
  io_command(ring_, op, tag, result, address, Kind::io);
}

void Server::completed(Kind kind, unsigned tag, int result, std::uint32_t flags) {
  switch (kind) {
    case Kind::io:
      if (result == UBLK_IO_RES_OK) return request(tag);
      if (result == UBLK_IO_RES_ABORT) return;
      std::fprintf(stderr, "bad_server: tag %u: result %d\n", tag, result);
      return;
    case Kind::timeout:
      return finish(tag);
    case Kind::buffer:
      if (result < 0)
        std::fprintf(stderr, "bad_server: buffer of tag %u: result %d\n", tag, result);
      if (!options_.register_only) finish(tag);
      return;
    case Kind::fetch:
      return batch_fetched(result, flags);
    case Kind::prep:
    case Kind::commit:
      if (result < 0) std::fprintf(stderr, "bad_server: batch command: result %d\n", result);
      return;
  }
}

void Server::request(unsigned tag) {
  ++requests_;
  if (options_.hold == -1 || static_cast<int>(held_.size()) < options_.hold) {
    held_.push_back(tag);
    return;
  }
  if ((options_.register_only || !options_.leak.empty()) && leaked_++ == 0)
    return register_buffer(tag);
  if (!options_.self.empty()) use_own_device();
  if (options_.delay_ms == 0) return finish(tag);
  io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
  timers_[tag] = {.tv_sec = options_.delay_ms / 1000,
                  .tv_nsec = options_.delay_ms % 1000 * 1'000'000};
  io_uring_prep_timeout(entry, &timers_[tag], 0, 0);
  entry->user_data = static_cast<std::uint64_t>(Kind::timeout) << 32 | tag;
}

// One line on stdout, which the tests compare with what the kernel's memory says.
void Server::print_account() {
  tell = 0;
  std::string tags;
  for (const unsigned tag : held_) tags += (tags.empty() ? "" : ", ") + std::to_string(tag);
  std::printf("{\"requests\": %u, \"commits\": %u, \"held\": [%s]}\n", requests_, commits_,
              tags.c_str());
  std::fflush(stdout);
}

void Server::finish(unsigned tag) {
  ++commits_;
  const int result = static_cast<int>(descriptors_[tag].nr_sectors << 9);
  if (store_ != nullptr) copy_data(tag);
  if (batch()) return batch_commit(tag, result);
  command(UBLK_U_IO_COMMIT_AND_FETCH_REQ, tag, result);
}

void Server::copy_data(unsigned tag) {
  const volatile ublksrv_io_desc& request = descriptors_[tag];
  std::byte* const stored = store_ + (request.start_sector << 9);
  std::byte* const buffer = buffers_ + std::size_t{tag} * max_io_bytes;
  const std::size_t bytes = std::size_t{request.nr_sectors} << 9;
  const unsigned operation = request.op_flags & 0xff;
  if (operation == UBLK_IO_OP_READ) std::memcpy(buffer, stored, bytes);
  if (operation == UBLK_IO_OP_WRITE) std::memcpy(stored, buffer, bytes);
}

}  // namespace hanglab

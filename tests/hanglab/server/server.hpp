// SPDX-License-Identifier: MIT
// A device with one queue and the thread that serves it, or does not.
#pragma once

#include <liburing.h>
#include <linux/ublk_cmd.h>

#include <csignal>
#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "tests/hanglab/server/options.hpp"

namespace hanglab {

constexpr std::uint32_t max_io_bytes = 64 << 10;
constexpr std::uint64_t device_bytes = 256 << 20;
enum class Kind : std::uint64_t { io = 1, timeout, buffer, prep, fetch, commit };

/// SIGUSR1 sets it: what is held is committed, leaked buffers are given back.
extern volatile std::sig_atomic_t release_held;
/// SIGUSR2 sets it: the server prints its own account of what it has.
extern volatile std::sig_atomic_t tell;

class Server {
 public:
  explicit Server(const Options& options) : options_(options), depth_(options.depth) {}

  void add();
  /// START_USER_RECOVERY of a device that is there.
  void take_over();
  void open_device();
  void fetch_all();
  /// START_DEV or END_USER_RECOVERY; prints 'ready N'.
  void start(std::uint32_t op);
  void serve();
  [[nodiscard]] int id() const { return options_.id; }

 private:
  Options options_;
  unsigned depth_;
  std::uint64_t flags_ = 0;
  int file_ = -1;
  const volatile ublksrv_io_desc* descriptors_ = nullptr;
  std::byte* buffers_ = nullptr;
  io_uring ring_{}, second_{}, third_{};
  io_uring_buf_ring* buffer_ring_ = nullptr;
  std::vector<std::uint16_t> fetched_tags_ = std::vector<std::uint16_t>(4096);
  std::vector<std::byte> elements_ = std::vector<std::byte>(std::size_t{4096} * 16);
  std::byte* store_ = nullptr;
  std::vector<unsigned> held_;
  std::map<unsigned, __kernel_timespec> timers_;
  int leaked_ = 0;
  unsigned requests_ = 0;  // requests that were delivered
  unsigned commits_ = 0;   // and those that were committed

  [[nodiscard]] bool batch() const { return (flags_ & UBLK_F_BATCH_IO) != 0; }
  [[nodiscard]] bool copies() const {
    return (flags_ & (UBLK_F_USER_COPY | UBLK_F_SUPPORT_ZERO_COPY | UBLK_F_AUTO_BUF_REG)) == 0;
  }

  void make_ring(io_uring& ring) const;
  io_uring_sqe* sqe(io_uring& ring, std::uint32_t op, Kind kind, unsigned tag) const;
  void io_command(io_uring& ring, std::uint32_t op, unsigned tag, int result, std::uint64_t address,
                  Kind kind) const;
  void command(std::uint32_t op, unsigned tag, int result);

  void completed(Kind kind, unsigned tag, int result, std::uint32_t flags);
  void request(unsigned tag);
  void finish(unsigned tag);
  void copy_data(unsigned tag);

  void print_account();

  // misdeeds.cpp
  void keep_by_child() const;
  void commit_held();
  void use_own_device();
  // Registers the request's buffer and (but for register_only) commits without taking it back.
  void register_buffer(unsigned tag);
  void register_in(io_uring& ring, unsigned tag) const;

  // batch.cpp
  void batch_command(std::uint32_t op, unsigned count, Kind kind);
  void batch_element(unsigned place, unsigned tag, int result);
  void batch_commit(unsigned tag, int result);
  void batch_start();
  void give_buffer();
  void batch_fetched(int result, std::uint32_t flags);
};

}  // namespace hanglab

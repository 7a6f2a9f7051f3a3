// SPDX-License-Identifier: MIT
// An NBD server for tests: keeps an export in memory and misbehaves as it is told.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bench/targets/nbd_protocol.hpp"

namespace ublkbench::testing_support {

struct FakeNbd {
  std::uint64_t bytes = 4 << 20;
  std::uint16_t flags = 1 | nbd::send_flush | nbd::send_fua | nbd::send_trim |
                        nbd::send_write_zeroes | nbd::can_multi_conn;
  std::uint32_t min_block_bytes = 1;
  std::uint32_t max_payload_bytes = 32 << 20;
  std::string export_name;    ///< others are refused
  int close_after = -1;       ///< closes instead of answering this request
  int silent_after = -1;      ///< answers no request from this one on
  int garbage_after = -1;     ///< answers this request with garbage
  unsigned swap_replies = 1;  ///< answers so many requests at a time, the last first
  std::uint32_t error_on_write = 0;
};

class FakeNbdServer {
 public:
  FakeNbdServer(std::string path, const FakeNbd& behaviour)
      : behaviour_(behaviour), path_(std::move(path)), storage_(behaviour.bytes) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
    path_.copy(name.sun_path, sizeof(name.sun_path) - 1);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
    EXPECT_EQ(::listen(listener_, 8), 0);
    threads_.emplace_back([this] { accept_all(); });
  }
  ~FakeNbdServer() {
    ::shutdown(listener_, SHUT_RDWR);
    {
      const std::scoped_lock lock(mutex_);
      for (const int client : clients_) ::shutdown(client, SHUT_RDWR);
    }
    threads_.front().join();
    for (std::size_t thread = 1; thread < threads_.size(); ++thread) threads_[thread].join();
    ::close(listener_);
    for (const int client : clients_) ::close(client);
  }
  FakeNbdServer(const FakeNbdServer&) = delete;
  FakeNbdServer& operator=(const FakeNbdServer&) = delete;

  [[nodiscard]] int connections() const { return connections_; }
  [[nodiscard]] std::vector<std::uint16_t> commands() {
    const std::scoped_lock lock(mutex_);
    return commands_;
  }
  [[nodiscard]] std::vector<std::byte>& storage() { return storage_; }

 private:
  struct Call {
    std::uint16_t flags, command;
    std::uint64_t cookie, offset;
    std::uint32_t bytes;
    std::vector<std::byte> data;
  };

  void accept_all() {
    for (;;) {
      const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      ++connections_;
      const std::scoped_lock lock(mutex_);
      clients_.push_back(client);
      threads_.emplace_back([this, client] {
        if (shake_hands(client)) serve(client);
        ::shutdown(client, SHUT_RDWR);
      });
    }
  }

  static bool hear(int client, std::byte* to, std::size_t bytes) {
    return bytes == 0 || ::recv(client, to, bytes, MSG_WAITALL) == static_cast<ssize_t>(bytes);
  }
  template <class... Fields>
  static bool say(int client, Fields... fields) {
    std::byte message[64];
    std::byte* at = message;
    (nbd::put(at, fields), ...);
    const auto bytes = static_cast<std::size_t>(at - message);
    return ::send(client, message, bytes, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes);
  }

  bool shake_hands(int client) {
    say(client, nbd::server_magic, nbd::option_magic, std::uint16_t{3});
    std::byte head[20];
    if (!hear(client, head, 20)) return false;
    const std::byte* at = head + 16;
    std::vector<std::byte> option(nbd::get<std::uint32_t>(at));
    if (!hear(client, option.data(), option.size())) return false;
    const std::byte* in = option.data();
    const auto length = nbd::get<std::uint32_t>(in);
    const std::string name(reinterpret_cast<const char*>(in), length);
    const auto answer = [&](std::uint32_t type, auto... fields) {
      return say(client, nbd::option_reply_magic, nbd::option_go, type,
                 static_cast<std::uint32_t>((sizeof(fields) + ... + 0)), fields...);
    };
    if (name != behaviour_.export_name) {
      answer(nbd::reply_is_error | 6);
      return false;
    }
    return answer(nbd::reply_info, nbd::info_export, behaviour_.bytes, behaviour_.flags) &&
           answer(nbd::reply_info, nbd::info_block_size, behaviour_.min_block_bytes,
                  std::uint32_t{4096}, behaviour_.max_payload_bytes) &&
           answer(nbd::reply_ack);
  }

  void serve(int client) {
    std::vector<Call> held;
    Call call;
    for (int number = 0; take(client, call); ++number) {
      if (number == behaviour_.close_after) return;
      if (number == behaviour_.garbage_after) {
        say(client, std::uint64_t{0}, std::uint64_t{0});
        continue;
      }
      if (behaviour_.silent_after >= 0 && number >= behaviour_.silent_after) continue;
      held.push_back(std::move(call));
      if (held.size() < behaviour_.swap_replies) continue;
      for (auto last = held.rbegin(); last != held.rend(); ++last) answer_call(client, *last);
      held.clear();
    }
  }

  bool take(int client, Call& call) {
    std::byte head[nbd::request_bytes];
    if (!hear(client, head, sizeof(head))) return false;
    const std::byte* at = head;
    EXPECT_EQ(nbd::get<std::uint32_t>(at), nbd::request_magic);
    call.flags = nbd::get<std::uint16_t>(at);
    call.command = nbd::get<std::uint16_t>(at);
    call.cookie = nbd::get<std::uint64_t>(at);
    call.offset = nbd::get<std::uint64_t>(at);
    call.bytes = nbd::get<std::uint32_t>(at);
    call.data.resize(call.command == 1 ? call.bytes : 0);
    if (!hear(client, call.data.data(), call.data.size())) return false;
    const std::scoped_lock lock(mutex_);
    commands_.push_back(static_cast<std::uint16_t>(call.flags << 8 | call.command));
    return true;
  }

  void answer_call(int client, const Call& call) {
    std::byte* const here = storage_.data() + call.offset;
    const std::uint32_t error = call.command == 1 ? behaviour_.error_on_write : 0;
    if (error == 0 && call.command == 1) std::memcpy(here, call.data.data(), call.bytes);
    if (call.command == 4 || call.command == 6) std::memset(here, 0, call.bytes);
    say(client, nbd::reply_magic, error, call.cookie);
    if (call.command == 0) (void)!::send(client, here, call.bytes, MSG_NOSIGNAL);
  }

  FakeNbd behaviour_;
  std::string path_;
  std::vector<std::byte> storage_;
  int listener_ = -1;
  std::atomic<int> connections_ = 0;
  std::mutex mutex_;
  std::vector<int> clients_;
  std::vector<std::uint16_t> commands_;
  std::vector<std::thread> threads_;
};

}  // namespace ublkbench::testing_support

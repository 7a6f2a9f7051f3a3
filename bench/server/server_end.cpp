// SPDX-License-Identifier: MIT
// How a server's devices end: each under its lock, and only while it is this server's.
#include <algorithm>

#include "bench/control/holders.hpp"
#include "bench/control/removal.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/server/server.hpp"

namespace ublkbench {

/// 'del' from elsewhere frees the number, and the next device may have it before this process is
/// told that its server ended or let go: that one is not ours to remove. ublksrv_flags name the
/// owner.
bool Server::owns(int id) const {
  const auto now = control::info(id);
  if (!now) return now.error().errnum != ENODEV;
  if (now->ublksrv_flags != device_.ublksrv_flags) return false;
  if (!control::recoverable(*now)) return true;
  // Another supervisor may have taken it over. Where /proc is not of our own PID namespace, the
  // driver knows our server by its number.
  const auto server = control::server_process(*now);
  return !server.found() || server.pid() == process_.pid() || now->ublksrv_pid == process_.pid();
}

Result<> Server::lock_all(std::uint64_t timeout_ns) {
  Result<> outcome;
  for (const int id : ids_) {
    if (std::ranges::contains(locks_, id, &control::DeviceLock::id)) continue;
    auto lock = control::DeviceLock::take(id, timeout_ns);
    if (lock)
      locks_.push_back(std::move(*lock));
    else if (outcome)
      outcome = std::unexpected(lock.error());
  }
  return outcome;
}

void Server::drop_foreign_numbers() {
  std::erase_if(ids_, [this](int id) { return !owns(id); });
}

/// Whoever stopped it may remove it as well.
void Server::remove_released(int id) {
  const process::Uninterrupted until_it_is_gone;
  std::erase(ids_, id);
  const auto lock = control::DeviceLock::take(id, control::default_timeout_ns);
  if (!lock || !owns(id)) return;
  forget_record(id);
  (void)control::stop(id);
  (void)control::remove(id);
}

Result<> Server::stop(std::uint64_t timeout_ns) {
  if (ids_.empty()) return {};
  const process::Uninterrupted until_it_is_gone;
  Result<> stopped = lock_all(timeout_ns);
  drop_foreign_numbers();
  if (ids_.empty()) return kill(timeout_ns);
  for (const int id : ids_)
    if (auto one = control::stop(id, timeout_ns); !one && one.error().errnum != ENODEV && stopped)
      stopped = one;
  if (stopped && process_.exists())
    if (auto ended = reap(timeout_ns); !ended) stopped = std::unexpected(ended.error());
  if (!stopped) {
    const Error error = stopped.error();
    (void)kill(timeout_ns);
    return std::unexpected(error);
  }
  auto removed = remove_all(timeout_ns);
  locks_.clear();
  return removed;
}

Result<> Server::kill(std::uint64_t timeout_ns) {
  const process::Uninterrupted until_it_is_gone;
  (void)process_.kill(timeout_ns);
  pass_on_what_it_said();
  // Whoever has a lock for so long is stuck; our own device goes nevertheless.
  (void)lock_all(timeout_ns);
  drop_foreign_numbers();
  for (const int id : ids_) (void)control::stop(id, timeout_ns);
  auto removed = remove_all(timeout_ns);
  ids_.clear();
  locks_.clear();
  return removed;
}

/// A record is forgotten first: once the number is free, the next device's may be there.
Result<> Server::remove_all(std::uint64_t timeout_ns) {
  Result<> outcome;
  std::erase_if(ids_, [&](int id) {
    forget_record(id);
    auto removed = control::remove(id, timeout_ns);
    if (removed || removed.error().errnum == ENODEV) return true;
    if (outcome) outcome = removed;
    return false;
  });
  return outcome;
}

}  // namespace ublkbench

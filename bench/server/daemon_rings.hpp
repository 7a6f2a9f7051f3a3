// SPDX-License-Identifier: MIT
// The rings of one task: who polls, and what goes where.
#pragma once

#include <memory>
#include <span>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"
#include "bench/ring/chain.hpp"
#include "bench/server/mode.hpp"

namespace ublkbench {

/// What the rings must hold.
struct RingNeeds {
  std::vector<int> files;     ///< of their tables, in this order
  unsigned commands = 0;      ///< io commands and batch commands in flight
  unsigned steps = 0;         ///< SQEs of requests in flight
  unsigned buffer_slots = 0;  ///< of the table that requests' pages are registered in
};

/// One to three rings that one task owns:
///   interrupt     all in one
///   iopoll        io commands and the target's I/O on one that polls; what it refuses on another
///   iopoll_split  the target's I/O on one that polls; all else on another
class DaemonRings {
 public:
  static Result<DaemonRings> create(const ReapTraits& reaping, const RingNeeds& needs);

  /// For io commands.
  [[nodiscard]] Ring& commands() { return *commands_; }
  /// For a request's SQEs; its target's files begin at `first_file` of the tables.
  [[nodiscard]] ChainRings chain_rings(int first_file);
  /// Lets go of a file of the tables.
  void forget_file(unsigned file);
  [[nodiscard]] bool polls() const { return polled_ != nullptr; }
  /// The ring that polls; only where polls().
  [[nodiscard]] Ring& polled() { return *polled_; }
  /// The other one; only where polls().
  [[nodiscard]] Ring& unpolled() { return *unpolled_; }
  [[nodiscard]] std::uint64_t enters() const;

  /// Sleeps until either ring has a completion or task work; only where polls(). `look` submits
  /// and runs what is there, `ready` says whether that led to something.
  ///
  /// poll() on a ring's own file does not do: before Linux 7.3 it is not woken by task work that is
  /// left to io_uring_enter() (io_uring/tw.c, io_req_local_work_add()); a registered eventfd is.
  template <class Look, class Ready>
  void sleep(Look&& look, Ready&& ready) {
    watch(true);
    // What came before the rings were told to say so. The kernel leaves it for the next time while
    // another CPU is adding more (mpscq_pop() of Linux 7.3), which signals nothing.
    int looked = 0;
    do looked = look();
    while (looked >= 0 && !ready() && (polled_->task_work_left() || commands_->task_work_left()));
    if (!ready()) wait_for_event();
    watch(false);
  }

 private:
  Result<> make_event();
  void watch(bool on);
  void wait_for_event();

  // On the heap: chains and deliveries hold references while this moves.
  std::unique_ptr<Ring> first_;
  std::unique_ptr<Ring> second_;
  Ring* commands_ = nullptr;
  Ring* polled_ = nullptr;
  Ring* unpolled_ = nullptr;
  Fd event_;  // signalled by both rings while watch()ed
};

}  // namespace ublkbench

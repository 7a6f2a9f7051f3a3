// SPDX-License-Identifier: MIT
// What a server did between the two edges of a measured window, by its own counters and by the
// kernel's accounting of its threads.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/record/fields.hpp"

namespace ublkbench {

struct EventSizes {
  SizeEvents size_events = {};

  [[nodiscard]] double mean() const;  ///< 0 without events

  static constexpr auto fields() {
    return std::tuple(derived("mean", &EventSizes::mean),
                      counter("size_events", &EventSizes::size_events, FieldKind::required));
  }
};

struct ServerUsage {
  std::uint64_t fetched_ios = 0;
  std::uint64_t committed_ios = 0;
  std::uint64_t failed_ios = 0;
  std::uint64_t enters = 0;
  std::uint64_t registered_by_hand = 0;
  std::uint64_t shared_memory_hits = 0;
  std::uint64_t shared_memory_misses = 0;
  std::uint64_t wakes = 0;
  std::uint64_t fetch_rearmed = 0;
  std::uint64_t in_flight_ios = 0;  ///< of a target with a connection, at the later edge
  std::uint64_t chained_send_ios = 0;
  std::uint64_t send_sqe_chain_busy = 0;
  EventSizes fetch_batch;
  EventSizes commit_batch;
  std::uint64_t cpu_ns = 0;                  ///< of the daemons' threads, user and kernel
  std::vector<std::uint64_t> daemon_cpu_ns;  ///< of each
  std::uint64_t voluntary_switches = 0;
  std::uint64_t involuntary_switches = 0;
  std::optional<std::uint64_t> instructions;

  static constexpr auto fields() {
    using U = ServerUsage;
    return std::tuple(
        counter("fetched_ios", &U::fetched_ios), counter("committed_ios", &U::committed_ios),
        counter("failed_ios", &U::failed_ios), counter("enters", &U::enters),
        counter("registered_by_hand", &U::registered_by_hand),
        counter("shared_memory_hits", &U::shared_memory_hits),
        counter("shared_memory_misses", &U::shared_memory_misses), counter("wakes", &U::wakes),
        counter("fetch_rearmed", &U::fetch_rearmed), field("in_flight_ios", &U::in_flight_ios),
        counter("chained_send_ios", &U::chained_send_ios),
        counter("send_sqe_chain_busy", &U::send_sqe_chain_busy),
        counter("fetch_batch", &U::fetch_batch, FieldKind::required),
        counter("commit_batch", &U::commit_batch),
        counter("cpu_ns", &U::cpu_ns, FieldKind::required),
        counter("daemon_cpu_ns", &U::daemon_cpu_ns),
        counter("voluntary_switches", &U::voluntary_switches, FieldKind::required),
        counter("involuntary_switches", &U::involuntary_switches),
        counter("instructions", &U::instructions, FieldKind::nullable));
  }
};

ServerUsage operator-(const ServerUsage& later, const ServerUsage& earlier);

struct TaskUsage {
  int task = 0;
  std::string name;
  std::uint64_t cpu_ns = 0;  ///< user and kernel

  static constexpr auto fields() {
    return std::tuple(field("task", &TaskUsage::task), field("name", &TaskUsage::name),
                      required("cpu_ns", &TaskUsage::cpu_ns));
  }
};

/// Of somebody else's server, whatever it did besides: it has no counters of ours.
struct ProcessUsage {
  int pid = 0;
  std::string name;
  std::uint64_t cpu_ns = 0;      ///< of all its threads, of those too that ended
  std::vector<TaskUsage> tasks;  ///< that there were at the later edge, by number
  std::optional<std::uint64_t> instructions;

  static constexpr auto fields() {
    using U = ProcessUsage;
    return std::tuple(field("pid", &U::pid), field("name", &U::name),
                      required("cpu_ns", &U::cpu_ns), field("tasks", &U::tasks),
                      nullable("instructions", &U::instructions));
  }
};

/// Of the same process.
ProcessUsage operator-(const ProcessUsage& later, const ProcessUsage& earlier);

}  // namespace ublkbench

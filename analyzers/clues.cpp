// SPDX-License-Identifier: MIT
#include "analyzers/clues.hpp"

#include <algorithm>
#include <set>

#include "bench/base/cpus.hpp"
#include "bench/base/units.hpp"

namespace ublkbench::analyzers {
namespace {

/// Of I/Os whose stages are not known apart, and that all count as the target's: so many move no
/// verdict that is not at its limit.
constexpr double most_unsplit = 0.05;

double online_cpus(const Record& record) {
  const auto cpus = parse_cpu_list(fact_word(record.env, "key_fields.cpu.online").value_or(""));
  return cpus ? static_cast<double>(cpus->size()) : 0;
}

/// How many CPUs the load's jobs can keep busy at once.
double cpus_of_load(const Record& record, double online) {
  double cpus = fact_number(record.run, "jobs").value_or(1);
  if (online > 0) cpus = std::min(cpus, online);
  if (const std::string* const pinned = fact(record.run, "work.load_cpus")) {
    const auto list = split(std::string_view(*pinned).substr(1, pinned->size() - 2), ',');
    const std::set<std::string> distinct(list.begin(), list.end());
    if (pinned->starts_with('[') && *pinned != "[]")
      cpus = std::min(cpus, static_cast<double>(distinct.size()));
  }
  return std::max(cpus, 1.0);
}

/// How many CPUs the server used.
std::optional<double> cpus_of_server(const Evidence& evidence, const Record& record) {
  if (evidence.server_cpu_ns) return *evidence.server_cpu_ns / evidence.window_ns;
  if (evidence.on_cpu_share) return evidence.on_cpu_share;
  // Time per I/O, where the probe was attached for longer than the load ran. The page cache
  // completes I/Os that the server never sees.
  const std::string* const direct = fact(record.run, "work.direct");
  if (!evidence.on_cpu_ns_per_io || (direct != nullptr && *direct == "false")) return {};
  return *evidence.on_cpu_ns_per_io * evidence.measured_ios / evidence.window_ns;
}

/// Of one CPU: that of the task which has most of it.
std::optional<double> share_of_busiest_task(const Evidence& evidence, const Record& record) {
  if (evidence.busiest_daemon_cpu_ns) return *evidence.busiest_daemon_cpu_ns / evidence.window_ns;
  if (evidence.busiest_on_cpu_share) return evidence.busiest_on_cpu_share;
  // Of older records the time of all tasks is known, and how it was shared, or how many they are.
  const auto cpus = cpus_of_server(evidence, record);
  if (cpus && evidence.busiest_task_share) return *cpus * *evidence.busiest_task_share;
  if (cpus && evidence.daemons == 1.0) return cpus;
  return {};
}

void set_busy(const Evidence& evidence, const Record& record, Clues& clues) {
  const double online = online_cpus(record);
  // Two clocks may differ by a tick.
  const auto at_most_all = [](std::optional<double> share) {
    return share ? std::optional(std::min(*share, 1.0)) : share;
  };
  clues.set(Clue::client_busy,
            at_most_all(std::max(
                evidence.busiest_job_cpu_ns / evidence.window_ns,
                evidence.load_cpu_ns / (evidence.window_ns * cpus_of_load(record, online)))));
  clues.set(Clue::server_busy, at_most_all(share_of_busiest_task(evidence, record)));
  if (const auto server_cpus = cpus_of_server(evidence, record); server_cpus && online > 0)
    clues.set(Clue::cpus_busy,
              at_most_all((*server_cpus + evidence.load_cpu_ns / evidence.window_ns) / online));
}

void set_quotas(const Evidence& evidence, Clues& clues) {
  if (!evidence.has_quotas) return;
  clues.set(Clue::server_throttled, evidence.server_quota.throttled_share);
  clues.set(Clue::server_quota_cpus, evidence.server_quota.cpus);
  clues.set(Clue::load_throttled, evidence.load_quota.throttled_share);
  clues.set(Clue::load_quota_cpus, evidence.load_quota.cpus);
}

/// Little's law: what all I/Os waited together is what there was of them, times the time. In an
/// closed loop that is what its depth lets in, whoever has it at the moment: the device has fewer
/// of them while the load reaps, and all of them when it submits. In an open loop they wait from
/// when they are due, most of them in the load: there the device's count says what is in flight.
void set_in_flight(const Evidence& evidence, bool open_loop, Clues& clues) {
  std::optional<double> wanted;
  if (evidence.latency_sum_ns) wanted = *evidence.latency_sum_ns / evidence.window_ns;
  clues.set(Clue::in_flight_ios, open_loop || !wanted ? evidence.device_in_flight : wanted);
  if (!open_loop && !wanted) clues.lacks(Clue::in_flight_ios, "latencies (no --no-latency)");
  if (open_loop && evidence.device_in_flight && wanted)
    clues.set(Clue::backlog_ios, std::max(*wanted - *evidence.device_in_flight, 0.0));
}

void set_stages(const Evidence& evidence, Clues& clues) {
  constexpr Clue of_latency[] = {Clue::target_share, Clue::wake_share, Clue::longest_wait_s,
                                 Clue::longest_wait_share, Clue::longest_wait_per_median};
  const auto total = evidence.stage(Stage::total);
  if (!total || *total == 0) {
    if (evidence.probes.latency)
      for (const Clue clue : of_latency)
        clues.lacks(clue,
                    "an I/O that latency follows (one of UBLKBENCH_PROBE_SAMPLE=31): more "
                    "I/Os");
    return;
  }
  if (evidence.unsplit_share <= most_unsplit) {
    clues.set(Clue::target_share, *evidence.stage(Stage::target) / *total);
    clues.set(Clue::wake_share,
              (*evidence.stage(Stage::dispatch) + *evidence.stage(Stage::wake)) / *total);
  } else {
    for (const Clue clue : {Clue::target_share, Clue::wake_share})
      clues.lacks(clue,
                  "stages that are told apart: of more than 5 % of the I/Os they are not "
                  "(unsplit_ios, docs/probes.md)");
  }
  if (!evidence.longest_wait_ns || !evidence.median_wait_ns) return;
  clues.set(Clue::longest_wait_s, *evidence.longest_wait_ns / 1e9);
  clues.set(Clue::longest_wait_share, *evidence.longest_wait_ns / evidence.window_ns);
  clues.set(Clue::longest_wait_per_median,
            *evidence.longest_wait_ns / std::max(*evidence.median_wait_ns, 1.0));
}

/// What is missing although its probe was there, and where no probe can be.
void set_reasons(const Evidence& evidence, const CellRecord& cell, Clues& clues) {
  if (evidence.probes.tags)
    clues.lacks(Clue::tag_waits_per_io, "the kernel's count of waits for a tag (Linux 7.3)");
  if (evidence.probes.batch) clues.lacks(Clue::fetch_batch, "a fetch: batch saw none");
  if (evidence.probes.wakeups) clues.lacks(Clue::sleeps_per_io, "an I/O that was completed");
  if (cell.axes.kind != "external" || cell.axes.target.starts_with("/dev/ublkb")) return;
  for (std::size_t at = 0; at < clue_count; ++at)
    if (clue_traits[at].missing.starts_with("--probe"))
      clues.lacks(static_cast<Clue>(at), "a ublk device: no probe looks into this one");
}

}  // namespace

Clues clues_of(const Evidence& evidence, const Record& record, const CellRecord& cell) {
  Clues clues;
  const double rate = fact_number(record.run, "rate_iops").value_or(0);
  // A closed loop asks for no rate, and so never reaches it.
  clues.set(Clue::rate_reached,
            rate == 0 ? 0 : evidence.measured_ios / evidence.window_ns * 1e9 / rate);
  set_quotas(evidence, clues);
  set_busy(evidence, record, clues);
  set_stages(evidence, clues);
  set_in_flight(evidence, rate != 0, clues);
  set_reasons(evidence, cell, clues);
  if (evidence.queue_tags && *evidence.queue_tags > 0)
    clues.set(Clue::wanted_per_tag, static_cast<double>(cell.axes.depth) *
                                        fact_number(record.run, "jobs").value_or(1) /
                                        *evidence.queue_tags);
  clues.set(Clue::tag_waits_per_io, evidence.tag_waits_per_io);
  clues.set(Clue::fetch_batch, evidence.server_fetch_batch ? evidence.server_fetch_batch
                                                           : evidence.probed_fetch_batch);
  if (evidence.server_sleeps)
    clues.set(Clue::sleeps_per_io, *evidence.server_sleeps / evidence.measured_ios);
  else
    clues.set(Clue::sleeps_per_io, evidence.sleeps_per_io);
  return clues;
}

}  // namespace ublkbench::analyzers

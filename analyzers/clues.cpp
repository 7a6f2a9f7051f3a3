// SPDX-License-Identifier: MIT
#include "analyzers/clues.hpp"

#include <algorithm>
#include <charconv>
#include <set>

namespace ublkbench::analyzers {
namespace {

using nlohmann::json;

/// Of I/Os whose stages are not known apart, and that all count as the target's: so many move no
/// verdict that is not at its limit.
constexpr double most_unsplit = 0.05;

/// CPUs in a list as sysfs writes it, "0-3,7"; 0 where it cannot be read.
double cpus_in(const std::string& list) {
  double cpus = 0;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at < end) {
    unsigned first = 0;
    auto parsed = std::from_chars(at, end, first);
    if (parsed.ec != std::errc()) return 0;
    unsigned last = first;
    if (parsed.ptr < end && *parsed.ptr == '-') parsed = std::from_chars(parsed.ptr + 1, end, last);
    if (parsed.ec != std::errc() || last < first) return 0;
    cpus += last - first + 1;
    at = parsed.ptr + (parsed.ptr < end ? 1 : 0);
  }
  return cpus;
}

double online_cpus(const Record& record) {
  const json& fields = record.env["key_fields"];
  if (!fields.contains("cpu") || !fields["cpu"].is_object()) return 0;
  return cpus_in(fields["cpu"].value("online", std::string()));
}

/// How many CPUs the load's jobs can keep busy at once.
double cpus_of_load(const Record& record, double online) {
  double cpus = record.run.value("jobs", 1.0);
  if (online > 0) cpus = std::min(cpus, online);
  const json work = record.run.value("work", json::object());
  if (const auto pinned = work.find("load_cpus");
      pinned != work.end() && pinned->is_array() && !pinned->empty())
    cpus =
        std::min(cpus, static_cast<double>(std::set<json>(pinned->begin(), pinned->end()).size()));
  return std::max(cpus, 1.0);
}

/// How many CPUs the server used.
std::optional<double> cpus_of_server(const Evidence& evidence, const Record& record) {
  if (evidence.server_cpu_ns) return *evidence.server_cpu_ns / evidence.window_ns;
  // Time per I/O, since the probe is attached for longer than the load runs. The page cache
  // completes I/Os that the server never sees.
  const json work = record.run.value("work", json::object());
  if (!evidence.on_cpu_ns_per_io || !work.value("direct", true)) return {};
  return *evidence.on_cpu_ns_per_io * evidence.measured_ios / evidence.window_ns;
}

void set_busy(const Evidence& evidence, const Record& record, Clues& clues) {
  const auto set = [&clues](Clue clue, double value) {
    clues[static_cast<std::size_t>(clue)] = value;
  };
  const double online = online_cpus(record);
  set(Clue::client_busy,
      std::max(evidence.busiest_job_cpu_ns / evidence.window_ns,
               evidence.load_cpu_ns / (evidence.window_ns * cpus_of_load(record, online))));
  const auto server_cpus = cpus_of_server(evidence, record);
  if (!server_cpus) return;
  double tasks = evidence.daemons.value_or(1);
  if (online > 0) tasks = std::min(tasks, online);
  set(Clue::server_busy,
      *server_cpus * std::max(evidence.busiest_task_share.value_or(0), 1 / std::max(tasks, 1.0)));
  if (online > 0)
    set(Clue::cpus_busy, (*server_cpus + evidence.load_cpu_ns / evidence.window_ns) / online);
}

void set_stages(const Evidence& evidence, Clues& clues) {
  const auto total = evidence.stage(Stage::total);
  if (!total || *total == 0) return;
  const auto set = [&clues](Clue clue, double value) {
    clues[static_cast<std::size_t>(clue)] = value;
  };
  if (evidence.unsplit_share <= most_unsplit) {
    set(Clue::target_share, *evidence.stage(Stage::target) / *total);
    set(Clue::wake_share,
        (*evidence.stage(Stage::dispatch) + *evidence.stage(Stage::wake)) / *total);
  }
  if (!evidence.longest_wait_ns || !evidence.median_wait_ns) return;
  set(Clue::longest_wait_s, *evidence.longest_wait_ns / 1e9);
  set(Clue::longest_wait_share, *evidence.longest_wait_ns / evidence.window_ns);
  set(Clue::longest_wait_per_median,
      *evidence.longest_wait_ns / std::max(*evidence.median_wait_ns, 1.0));
}

}  // namespace

Clues clues_of(const Evidence& evidence, const Record& record, const CellRecord& cell) {
  Clues clues;
  const auto set = [&clues](Clue clue, std::optional<double> value) {
    clues[static_cast<std::size_t>(clue)] = value;
  };
  const double rate = record.run.value("rate_iops", 0.0);
  // A closed loop asks for no rate, and so never reaches it.
  set(Clue::rate_reached, rate == 0 ? 0 : evidence.measured_ios / evidence.window_ns * 1e9 / rate);
  set_busy(evidence, record, clues);
  set_stages(evidence, clues);
  // Little's law: what all I/Os waited together is what was in flight, times the time.
  if (evidence.latency_sum_ns)
    set(Clue::in_flight_ios, *evidence.latency_sum_ns / evidence.window_ns);
  if (evidence.queue_tags && *evidence.queue_tags > 0)
    set(Clue::wanted_per_tag, static_cast<double>(cell.axes.depth) * record.run.value("jobs", 1.0) /
                                  *evidence.queue_tags);
  set(Clue::tag_waits_per_io, evidence.tag_waits_per_io);
  set(Clue::fetch_batch,
      evidence.server_fetch_batch ? evidence.server_fetch_batch : evidence.probed_fetch_batch);
  if (evidence.server_sleeps)
    set(Clue::sleeps_per_io, *evidence.server_sleeps / evidence.measured_ios);
  else
    set(Clue::sleeps_per_io, evidence.sleeps_per_io);
  return clues;
}

}  // namespace ublkbench::analyzers

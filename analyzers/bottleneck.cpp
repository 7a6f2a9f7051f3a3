// SPDX-License-Identifier: MIT
#include "analyzers/bottleneck.hpp"

#include <algorithm>
#include <map>

namespace ublkbench::analyzers {
namespace {

using enum Condition::Sense;

// A task that never waits is on its CPU for all of the window, but for being preempted and for the
// edges of the window; one that waits for the other side once an I/O is far below.
constexpr double busy = 0.85;
// The same of all CPUs together, which idle tasks of the kernel use, too.
constexpr double all_busy = 0.9;
// Stopped in one period of five and asleep for the rest of each: what it could do without the quota
// is not known then.
constexpr double throttled = 0.2;
// An open loop that is kept up with is late by the last I/Os only.
constexpr double rate_kept = 0.98;
// Below one wait in 20 I/Os a deeper queue would let in too little to be seen.
constexpr double waits = 0.05;
// More than half of the time is more than all other stages together.
constexpr double most = 0.5;
// In each I/O a part that another part of 4 would have to hide.
constexpr double quarter = 0.25;
// A fetch that brings two halves the cost of fetching; eight in flight could have come together.
constexpr double batch = 2;
constexpr double enough_in_flight = 8;
// More often asleep than not when an I/O comes.
constexpr double sleeps = 0.5;
// A stop, not a queue: what waits in a queue waits about as long as its neighbours. And not the
// scheduler: of a window of 100 ms, 26 were once a wait for a CPU.
constexpr double stop_s = 1;
constexpr double stop_share = 0.2;
constexpr double stop_per_median = 50;

/// The first that holds is the verdict; the others that hold stand beside it.
const std::vector<Bottleneck>& rules() {
  static const std::vector<Bottleneck> all = {
      {.name = "server_throttled",
       .title = "the server is throttled by the CPU quota of its cgroup",
       .conditions = {{Clue::server_throttled, at_least, throttled},
                      {Clue::server_quota_cpus, above, 0}},
       .knob = "a larger quota for the server (cpu.max of its cgroup, docker --cpus, systemd "
               "CPUQuota=)"},
      {.name = "client_throttled",
       .title = "the load is throttled by the CPU quota of its cgroup",
       .conditions = {{Clue::load_throttled, at_least, throttled},
                      {Clue::load_quota_cpus, above, 0}},
       .knob = "a larger quota for ublkbench (cpu.max of its cgroup, docker --cpus, systemd "
               "CPUQuota=)"},
      {.name = "server_stalled",
       .title = "the server stood still",
       .conditions = {{Clue::longest_wait_s, at_least, stop_s},
                      {Clue::longest_wait_share, at_least, stop_share},
                      {Clue::longest_wait_per_median, at_least, stop_per_median}},
       .knob =
           "look whether it was stopped (SIGSTOP, a debugger, swapping, memory limits); while it "
           "stands, 'ublk-dump' says who holds what"},
      {.name = "rate_limited",
       .title = "nothing: the load asks for no more",
       .conditions = {{Clue::rate_reached, at_least, rate_kept}},
       .knob = "a higher --rate, or none, to find the limit"},
      {.name = "server_saturated",
       .title = "the server is saturated",
       .conditions = {{Clue::server_busy, at_least, busy}},
       .knob = "more tasks (--queues, --daemons), less work an I/O (batch, auto_zc: 'ublkbench "
               "--mode all'), or a CPU of its own (--server-cpus)",
       .foreign_knob = "more queues or threads of that server, less work an I/O (its batches, its "
                       "way to the data), or a CPU of its own (taskset)"},
      {.name = "client_saturated",
       .title = "the client is saturated",
       .conditions = {{Clue::client_busy, at_least, busy}},
       .knob = "more load threads (--jobs) on more CPUs (--load-cpus), larger --submit-batch, "
               "registered buffers and file; without O_DIRECT (--buffered) it is the page cache "
               "that is measured"},
      {.name = "tag_starved",
       .title = "the device is tag-starved",
       .conditions = {{Clue::tag_waits_per_io, at_least, waits}, {Clue::wanted_per_tag, above, 1}},
       .knob = "a deeper queue (--qd, ublk-server -d), more queues (--queues, -q), or fewer jobs",
       .foreign_knob = "a device with deeper or more queues, or fewer jobs (--jobs)"},
      {.name = "waiting_on_backend",
       .title = "the server waits for its target",
       .conditions = {{Clue::target_share, at_least, most}, {Clue::server_busy, below, busy}},
       .knob = "more I/Os in flight (--qd) if the target can take them, or a faster target"},
      {.name = "batch_too_small",
       .title = "batches are too small",
       .conditions = {{Clue::fetch_batch, below, batch},
                      {Clue::in_flight_ios, at_least, enough_in_flight}},
       .knob =
           "fewer tasks for the same I/Os (--daemons), a client that submits more at once "
           "(--submit-batch), --mode batch with room for more tags (--fetch-tags), --wait-count",
       .foreign_knob = "fewer threads of that server for the same I/Os, or a client that submits "
                       "more at once (--submit-batch)"},
      {.name = "wakeup_bound",
       .title = "each I/O waits for a wakeup of the server",
       .conditions = {{Clue::sleeps_per_io, at_least, sleeps},
                      {Clue::wake_share, at_least, quarter},
                      {Clue::server_busy, below, busy}},
       .knob =
           "more I/Os in flight (--qd), spinning before sleeping (--spin-us), server and client "
           "on CPUs that share a cache (--server-cpus, --load-cpus)",
       .foreign_knob = "more I/Os in flight (--qd, --jobs), a server that spins before it sleeps, "
                       "server and client on CPUs that share a cache (taskset, --load-cpus)"},
      {.name = "cpus_saturated",
       .title = "server and load use up the machine's CPUs together",
       .conditions = {{Clue::cpus_busy, at_least, all_busy}},
       .knob = "more CPUs; the cost of an I/O on both sides is what counts (server_cpu_ns, "
               "load_cpu_ns)"}};
  return all;
}

bool holds(const Condition& condition, double value) {
  if (condition.sense == below) return value < condition.limit;
  return condition.sense == above ? value > condition.limit : value >= condition.limit;
}

}  // namespace

std::string_view Diagnosis::verdict() const {
  if (!found.empty()) return found.front()->name;
  return unchecked.empty() ? "none" : "cannot_tell";
}

Diagnosis diagnose(const Clues& clues) {
  Diagnosis diagnosis{.clues = clues, .found = {}, .unchecked = {}};
  for (const Bottleneck& rule : rules()) {
    Unchecked unchecked{.rule = &rule, .missing = {}};
    bool denied = false;
    for (const Condition& condition : rule.conditions) {
      const auto value = clues.value_of(condition.clue);
      if (!value)
        unchecked.missing.push_back(condition.clue);
      else
        denied |= !holds(condition, *value);
    }
    if (denied) continue;
    if (unchecked.missing.empty())
      diagnosis.found.push_back(&rule);
    else
      diagnosis.unchecked.push_back(std::move(unchecked));
  }
  // Of two that have nothing left to give, the one that has less.
  const auto& found = diagnosis.found;
  const auto of = [&](std::string_view name) {
    return std::ranges::find(found, name, [](const Bottleneck* rule) { return rule->name; });
  };
  const auto server = of("server_saturated");
  const auto client = of("client_saturated");
  if (server != found.end() && client != found.end() &&
      clues.value_of(Clue::client_busy) > clues.value_of(Clue::server_busy))
    std::iter_swap(diagnosis.found.begin() + (server - found.begin()),
                   diagnosis.found.begin() + (client - found.begin()));
  return diagnosis;
}

std::vector<CellDiagnosis> diagnose(const Record& record) {
  std::vector<CellDiagnosis> cells;
  for (const CellRecord& cell : record.cells) {
    if (cell.axes.is_control()) continue;
    CellDiagnosis of_cell{.cell = cell.id,
                          .verdict = "not_measured",
                          .diagnosis = {},
                          .judged = cell.evidence.size(),
                          .reason = cell.reason,
                          .foreign = cell.axes.kind == "external"};
    std::vector<Diagnosis> samples;
    std::map<std::string_view, std::size_t> votes;
    for (const Evidence& evidence : cell.evidence) {
      samples.push_back(diagnose(clues_of(evidence, record, cell)));
      ++votes[samples.back().verdict()];
    }
    if (!votes.empty()) {
      const auto most_votes =
          std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
      const auto as_many = std::ranges::count(votes, most_votes->second,
                                              [](const auto& vote) { return vote.second; });
      of_cell.verdict = as_many > 1 ? std::string_view("samples_disagree") : most_votes->first;
      of_cell.agree = most_votes->second;
      const auto first =
          std::ranges::find(samples, most_votes->first, [](const auto& d) { return d.verdict(); });
      of_cell.diagnosis = *first;
      const Evidence& of_first = cell.evidence[static_cast<std::size_t>(first - samples.begin())];
      if (of_first.probed()) of_cell.probed = of_first.probed_in_window ? "window" : "attached";
    }
    cells.push_back(std::move(of_cell));
  }
  return cells;
}

}  // namespace ublkbench::analyzers

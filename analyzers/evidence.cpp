// SPDX-License-Identifier: MIT
#include "analyzers/evidence.hpp"

#include <algorithm>

namespace ublkbench::analyzers {
namespace {

using Element = simdjson::dom::element;
using Object = JsonReader::Object;

/// Calls `use` with each object of the list; nothing where there is none.
template <class Use>
void for_each(JsonReader& at, const Object& parent, std::string_view key, Use&& use) {
  simdjson::dom::array list;
  const auto element = at.find(parent, key);
  if (!element || element->get(list) != simdjson::SUCCESS) return;
  JsonReader inside = at.inside(key);
  for (const Element& entry : list)
    if (Object object; entry.get(object) == simdjson::SUCCESS) use(inside, object);
}

void add_load(const LoadReport& load, Evidence& evidence) {
  evidence.measured_ios = static_cast<double>(load.measured_ios);
  evidence.window_ns = static_cast<double>(load.window_ns);
  evidence.load_cpu_ns = static_cast<double>(load.usage.cpu_ns);
  for (const ThreadUsage& job : load.usage_per_job)
    evidence.busiest_job_cpu_ns =
        std::max(evidence.busiest_job_cpu_ns, static_cast<double>(job.cpu_ns));
  if (load.latency_ns && load.latency_ns->sum != 0)
    evidence.latency_sum_ns = static_cast<double>(load.latency_ns->sum);
}

Quota quota_of(const std::optional<CpuQuota>& quota) {
  if (!quota) return {};
  const auto periods = static_cast<double>(quota->periods);
  return {
      .cpus = quota->cpus,
      .throttled_share = periods > 0 ? static_cast<double>(quota->throttled_periods) / periods : 0};
}

void add_server(const ServerUsage& server, Evidence& evidence) {
  evidence.server_cpu_ns = static_cast<double>(server.cpu_ns);
  if (!server.daemon_cpu_ns.empty())
    evidence.busiest_daemon_cpu_ns = static_cast<double>(std::ranges::max(server.daemon_cpu_ns));
  evidence.server_sleeps = static_cast<double>(server.voluntary_switches);
  evidence.server_fetch_batch = server.fetch_batch.mean();
}

void add_server_process(const ProcessUsage& process, Evidence& evidence) {
  evidence.server_cpu_ns = static_cast<double>(process.cpu_ns);
  for (const TaskUsage& task : process.tasks)
    evidence.busiest_daemon_cpu_ns =
        std::max(evidence.busiest_daemon_cpu_ns.value_or(0), static_cast<double>(task.cpu_ns));
}

void read_latency(JsonReader at, const Object& latency, Evidence& evidence) {
  const Object stages = at.object(latency, "stages_ns");
  JsonReader inside = at.inside("stages_ns");
  for (std::size_t stage = 0; stage < stage_names.size(); ++stage)
    evidence.stage_sum_ns[stage] =
        inside.inside(stage_names[stage]).number(inside.object(stages, stage_names[stage]), "sum");
  for (const char* const stage : {"dispatch", "wake", "server", "commit"}) {
    const Object histogram = inside.object(stages, stage);
    JsonReader of = inside.inside(stage);
    const auto longest_ns = of.optional_number(histogram, "max");
    if (!longest_ns || (evidence.longest_wait_ns && *longest_ns <= *evidence.longest_wait_ns))
      continue;
    evidence.longest_wait_ns = longest_ns;
    evidence.median_wait_ns = of.optional_number(histogram, "p50");
  }
  const auto totals = at.optional_object(latency, "totals");
  if (!totals) return;
  JsonReader totals_at = at.inside("totals");
  const double finished = totals_at.optional_number(*totals, "finished_ios").value_or(0);
  if (finished > 0)
    evidence.unsplit_share =
        totals_at.optional_number(*totals, "unsplit_ios").value_or(0) / finished;
}

void read_wakeups(JsonReader at, const Object& wakeups, Evidence& evidence) {
  const double ios = at.number(wakeups, "completed_ios");
  double sleeps = 0;
  double on_cpu_ns = 0;
  double busiest_ns = 0;
  for_each(at, wakeups, "tasks", [&](JsonReader& task_at, const Object& task) {
    const double task_ns = task_at.number(task, "on_cpu_ns");
    sleeps += task_at.number(task, "sleeps");
    on_cpu_ns += task_ns;
    busiest_ns = std::max(busiest_ns, task_ns);
  });
  if (on_cpu_ns > 0) evidence.busiest_task_share = busiest_ns / on_cpu_ns;
  const double elapsed_ns = at.optional_number(wakeups, "elapsed_ns").value_or(0);
  if (evidence.probed_in_window && elapsed_ns > 0) {
    evidence.on_cpu_share = on_cpu_ns / elapsed_ns;
    evidence.busiest_on_cpu_share = busiest_ns / elapsed_ns;
  }
  if (ios == 0) return;
  evidence.sleeps_per_io = sleeps / ios;
  evidence.on_cpu_ns_per_io = on_cpu_ns / ios;
}

void read_probes(JsonReader at, const Object& record, Evidence& evidence) {
  const Object probes = at.object(record, "probes");
  JsonReader inside = at.inside("probes");
  evidence.probed_in_window = at.optional_number(record, "window_ns").has_value();
  const auto here = [&](const char* name) {
    return inside.optional_object(probes, name).has_value();
  };
  evidence.probes = {.latency = here("latency"),
                     .wakeups = here("wakeups"),
                     .batch = here("batch"),
                     .tags = here("tags")};
  if (const auto latency = inside.optional_object(probes, "latency"))
    read_latency(inside.inside("latency"), *latency, evidence);
  if (const auto wakeups = inside.optional_object(probes, "wakeups"))
    read_wakeups(inside.inside("wakeups"), *wakeups, evidence);
  if (const auto batch = inside.optional_object(probes, "batch"))
    if (const auto fetches = inside.inside("batch").optional_object(*batch, "fetch_batch"))
      evidence.probed_fetch_batch =
          inside.inside("batch").inside("fetch_batch").optional_number(*fetches, "mean");
  if (const auto tags = inside.optional_object(probes, "tags")) {
    JsonReader tags_at = inside.inside("tags");
    const double ios = tags_at.number(*tags, "completed_ios");
    // Linux 6.12 has no tracepoint for it; the record then has no such field.
    const auto waits = tags_at.optional_number(*tags, "tag_waits");
    if (waits && ios > 0) evidence.tag_waits_per_io = *waits / ios;
  }
  if (const auto subject = at.optional_object(record, "subject"))
    for_each(at, *subject, "devices", [&](JsonReader& device_at, const Object& device) {
      evidence.queue_tags = device_at.optional_number(device, "depth");
    });
}

}  // namespace

Evidence read_evidence(JsonReader& at, const SampleRecord& sample) {
  Evidence evidence;
  if (sample.load) add_load(*sample.load, evidence);
  if (sample.block) evidence.device_in_flight = sample.block->in_flight_mean;
  if (sample.cpu_quota) {
    evidence.has_quotas = true;
    evidence.server_quota = quota_of(sample.cpu_quota->server);
    evidence.load_quota = quota_of(sample.cpu_quota->load);
  }
  if (sample.server)
    add_server(*sample.server, evidence);
  else if (sample.server_process)
    add_server_process(*sample.server_process, evidence);
  if (sample.device) {
    if (sample.device->daemons) evidence.daemons = *sample.device->daemons;
    if (sample.device->depth) evidence.queue_tags = *sample.device->depth;
  }
  if (!sample.probe) return evidence;
  simdjson::dom::parser parser;
  Object record;
  JsonReader inside = at.inside("probe").inside("record");
  if (parser.parse(sample.probe->record.text).get(record) == simdjson::SUCCESS)
    read_probes(inside, record, evidence);
  else
    inside.complain("", "is no object");
  return evidence;
}

}  // namespace ublkbench::analyzers

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

void read_load(JsonReader at, const Object& load, Evidence& evidence) {
  evidence.measured_ios = at.number(load, "measured_ios");
  evidence.window_ns = at.number(load, "window_ns");
  evidence.load_cpu_ns = at.inside("usage").number(at.object(load, "usage"), "cpu_ns");
  for_each(at, load, "usage_per_job", [&](JsonReader& job_at, const Object& job) {
    evidence.busiest_job_cpu_ns =
        std::max(evidence.busiest_job_cpu_ns, job_at.number(job, "cpu_ns"));
  });
  if (const auto latency = at.optional_object(load, "latency_ns"))
    evidence.latency_sum_ns = at.inside("latency_ns").optional_number(*latency, "sum");
}

void read_server(JsonReader at, const Object& server, Evidence& evidence) {
  evidence.server_cpu_ns = at.number(server, "cpu_ns");
  evidence.server_sleeps = at.number(server, "voluntary_switches");
  evidence.server_fetch_batch =
      at.inside("fetch_batch").number(at.object(server, "fetch_batch"), "mean");
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
  if (ios == 0) return;
  evidence.sleeps_per_io = sleeps / ios;
  evidence.on_cpu_ns_per_io = on_cpu_ns / ios;
}

void read_probes(JsonReader at, const Object& record, Evidence& evidence) {
  const Object probes = at.object(record, "probes");
  JsonReader inside = at.inside("probes");
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

Evidence read_evidence(JsonReader& at, const Object& sample) {
  Evidence evidence;
  read_load(at.inside("load"), at.object(sample, "load"), evidence);
  if (const auto server = at.optional_object(sample, "server"))
    read_server(at.inside("server"), *server, evidence);
  if (const auto device = at.optional_object(sample, "device")) {
    evidence.daemons = at.inside("device").optional_number(*device, "daemons");
    evidence.queue_tags = at.inside("device").optional_number(*device, "depth");
  }
  if (const auto probe = at.optional_object(sample, "probe"))
    read_probes(at.inside("probe").inside("record"), at.inside("probe").object(*probe, "record"),
                evidence);
  return evidence;
}

}  // namespace ublkbench::analyzers

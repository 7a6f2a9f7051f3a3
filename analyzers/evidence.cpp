// SPDX-License-Identifier: MIT
#include "analyzers/evidence.hpp"

#include <algorithm>

namespace ublkbench::analyzers {
namespace {

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

void add_latency(const probed::Latency& latency, Evidence& evidence) {
  if (!latency.stages_ns) return;
  for (std::size_t stage = 0; stage < probed::stages; ++stage)
    evidence.stage_sum_ns[stage] =
        static_cast<double>(latency.stages_ns->of(static_cast<Stage>(stage)).sum);
  for (const Stage stage : {Stage::dispatch, Stage::wake, Stage::server, Stage::commit}) {
    const Distribution& times = latency.stages_ns->of(stage);
    const auto longest_ns = static_cast<double>(times.max);
    if (evidence.longest_wait_ns && longest_ns <= *evidence.longest_wait_ns) continue;
    evidence.longest_wait_ns = longest_ns;
    evidence.median_wait_ns = times.p50;
  }
  const probed::LatencyTotals& totals = latency.totals;
  if (totals.finished_ios > 0)
    evidence.unsplit_share =
        static_cast<double>(totals.unsplit_ios) / static_cast<double>(totals.finished_ios);
}

void add_wakeups(const probed::Wakeups& wakeups, Evidence& evidence) {
  const auto ios = static_cast<double>(wakeups.completed_ios);
  double sleeps = 0;
  double on_cpu_ns = 0;
  double busiest_ns = 0;
  for (const probed::WakeupsTask& task : wakeups.tasks) {
    const auto task_ns = static_cast<double>(task.on_cpu_ns);
    sleeps += static_cast<double>(task.sleeps);
    on_cpu_ns += task_ns;
    busiest_ns = std::max(busiest_ns, task_ns);
  }
  if (on_cpu_ns > 0) evidence.busiest_task_share = busiest_ns / on_cpu_ns;
  const auto elapsed_ns = static_cast<double>(wakeups.elapsed_ns.value_or(0));
  if (evidence.probed_in_window && elapsed_ns > 0) {
    evidence.on_cpu_share = on_cpu_ns / elapsed_ns;
    evidence.busiest_on_cpu_share = busiest_ns / elapsed_ns;
  }
  if (ios == 0) return;
  evidence.sleeps_per_io = sleeps / ios;
  evidence.on_cpu_ns_per_io = on_cpu_ns / ios;
}

void add_probes(const probed::Document& record, Evidence& evidence) {
  const probed::Records& probes = record.probes;
  evidence.probed_in_window = record.window_ns.has_value();
  evidence.probes = {.latency = probes.latency.has_value(),
                     .wakeups = probes.wakeups.has_value(),
                     .batch = probes.batch.has_value(),
                     .tags = probes.tags.has_value()};
  if (probes.latency) add_latency(*probes.latency, evidence);
  if (probes.wakeups) add_wakeups(*probes.wakeups, evidence);
  if (probes.batch && probes.batch->fetch_batch)
    evidence.probed_fetch_batch = probes.batch->fetch_batch->mean();
  // Linux 6.12 has no tracepoint for it.
  if (probes.tags && probes.tags->tag_waits && probes.tags->completed_ios > 0)
    evidence.tag_waits_per_io = static_cast<double>(*probes.tags->tag_waits) /
                                static_cast<double>(probes.tags->completed_ios);
  for (const probed::Device& device : record.subject.devices)
    if (device.depth != 0) evidence.queue_tags = static_cast<double>(device.depth);
}

}  // namespace

Evidence evidence_of(const SampleRecord& sample) {
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
  if (sample.probe) add_probes(sample.probe->record, evidence);
  return evidence;
}

}  // namespace ublkbench::analyzers

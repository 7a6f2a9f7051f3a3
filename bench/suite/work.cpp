// SPDX-License-Identifier: MIT
#include "bench/suite/work.hpp"

#include <algorithm>
#include <set>
#include <string>

#include "bench/base/format.hpp"
#include "bench/suite/usage.hpp"

namespace ublkbench {
namespace {

RawJson cpus_of(const ServeOptions& server) {
  if (server.pinning == Pinning::free) return {R"("free")"};
  if (server.pinning == Pinning::queue) return {R"("queue")"};
  std::string list;
  for (const int cpu : server.cpus) list += formatted("{}{}", list.empty() ? "" : ",", cpu);
  return {formatted("[{}]", list)};
}

std::string word_of(VerifyPolicy policy) {
  if (policy == VerifyPolicy::on) return "on";
  return policy == VerifyPolicy::off ? "off" : "auto";
}

/// Nothing where the cells do not agree: each sample's device has its own.
std::optional<unsigned> daemons_of(const RunOptions& options) {
  std::set<unsigned> counts;
  for (const Mode& mode : options.modes)
    for (const unsigned depth : options.depths)
      counts.insert(serve_options(options, {.mode = mode, .depth = depth}).daemon_count());
  return counts.size() == 1 ? std::optional(*counts.begin()) : std::nullopt;
}

WorkDetails details_of_load(const load::LoadOptions& load) {
  WorkDetails work{.rw_mix_read_percent = load.rw_mix_read_percent,
                   .submit_batch = load.submit_batch,
                   .complete_batch = load.complete_batch,
                   .fixed_buffers = load.fixed_buffers,
                   .registered_file = load.registered_file,
                   .direct = load.direct,
                   .hipri = load.hipri,
                   .allow_split = load.allow_split,
                   .load_cpus = load.job_cpus,
                   .warmup_ns = {},
                   .warmup_ios = {}};
  if (load.ios == 0) work.warmup_ns = load.warmup_ns;
  if (load.warmup_ios != load::LoadOptions::default_warmup) work.warmup_ios = load.warmup_ios;
  return work;
}

void add_server(const ServeOptions& server, WorkDetails& work) {
  work.max_io_bytes = server.max_io_bytes;
  work.auto_zc_fallback = server.auto_zc_fallback;
  work.server_cpus = cpus_of(server);
  work.spin_us = server.waiting.spin_us;
  work.wait_count = server.waiting.count;
  work.wait_us = server.waiting.wait_us;
  work.wake_by = server.waiting.wake_by == WakeBy::eventfd ? "eventfd" : "msg_ring";
  work.fetches = server.batch.fetches_per_queue;
  work.fetch_tags = server.batch.fetch_tags;
}

}  // namespace

RunRecord describe_work(const RunOptions& options) {
  const load::LoadOptions& load = options.load;
  const bool is_ours = options.device.empty();
  const auto shift = icount_shift();
  RunRecord run{.id = {}, .started = {}};
  run.seed = options.seed;
  run.repeat = options.repeat;
  run.verify = word_of(options.verify);
  if (is_ours) run.queues = options.server.queues;
  if (is_ours) run.daemons = daemons_of(options);
  run.jobs = load.jobs;
  run.ios = load.ios;
  run.runtime_ns = load.runtime_ns;
  run.rate_iops = load.rate_iops;
  run.loop = load.rate_iops == 0 ? "closed" : "open";
  run.latency_recorded = load.record_latency;
  run.work = details_of_load(load);
  if (is_ours) add_server(options.server, run.work);
  if (options.foreign) run.work.device = options.foreign->identity();
  if (shift) run.clock = formatted("icount shift {}: times are instructions, not seconds", *shift);
  return run;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/suite/work.hpp"

#include <algorithm>
#include <set>
#include <string>

#include "bench/base/format.hpp"
#include "bench/record/write_fields.hpp"
#include "bench/suite/usage.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;

json cpus_of(const ServeOptions& server) {
  if (server.pinning == Pinning::list) return server.cpus;
  return server.pinning == Pinning::free ? "free" : "queue";
}

std::string word_of(VerifyPolicy policy) {
  if (policy == VerifyPolicy::on) return "on";
  return policy == VerifyPolicy::off ? "off" : "auto";
}

/// Null where the cells do not agree: each sample's device has its own.
json daemons_of(const RunOptions& options) {
  std::set<unsigned> counts;
  for (const Mode& mode : options.modes)
    for (const unsigned depth : options.depths)
      counts.insert(serve_options(options, {.mode = mode, .depth = depth}).daemon_count());
  return counts.size() == 1 ? json(*counts.begin()) : json();
}

// Two lists with a line for each thing that decides how much work an I/O is, besides the cell.
// compare, gate, trend and --resume hold each of them against the other run's: nothing else is to
// be done for it.

json of_load(const RunOptions& options) {
  const load::LoadOptions& load = options.load;
  const bool default_warmup = load.warmup_ios == load::LoadOptions::default_warmup;
  return {{"rw_mix_read_percent", load.rw_mix_read_percent},
          {"submit_batch", load.submit_batch},
          {"complete_batch", load.complete_batch},
          {"fixed_buffers", load.fixed_buffers},
          {"registered_file", load.registered_file},
          {"direct", load.direct},
          {"hipri", load.hipri},
          {"allow_split", load.allow_split},
          {"load_cpus", load.job_cpus},
          {"warmup_ns", load.ios == 0 ? json(load.warmup_ns) : json()},
          {"warmup_ios", default_warmup ? json() : json(load.warmup_ios)}};
}

/// Of our own server: names that bench/record/identity.cpp knows as such.
json of_server(const RunOptions& options) {
  const ServeOptions& server = options.server;
  return {{"max_io_bytes", server.max_io_bytes},
          {"auto_zc_fallback", server.auto_zc_fallback},
          {"server_cpus", cpus_of(server)},
          {"spin_us", server.waiting.spin_us},
          {"wait_count", server.waiting.count},
          {"wait_us", server.waiting.wait_us},
          {"wake_by", server.waiting.wake_by == WakeBy::eventfd ? "eventfd" : "msg_ring"},
          {"fetches", server.batch.fetches_per_queue},
          {"fetch_tags", server.batch.fetch_tags}};
}

/// Of somebody else's server nothing of this is known: null, not what ours would have had.
json details(const RunOptions& options) {
  json work = of_load(options);
  const json server = of_server(options);
  for (const auto& [name, value] : server.items())
    work[name] = options.device.empty() ? value : json();
  if (options.foreign) work["device"] = to_json(options.foreign->identity());
  return work;
}

}  // namespace

json describe_work(const RunOptions& options) {
  const load::LoadOptions& load = options.load;
  const auto shift = icount_shift();
  return {
      {"seed", options.seed},
      {"verify", word_of(options.verify)},
      {"queues", options.device.empty() ? json(options.server.queues) : json()},
      {"daemons", options.device.empty() ? daemons_of(options) : json()},
      {"jobs", load.jobs},
      {"ios", load.ios},
      {"runtime_ns", load.runtime_ns},
      {"rate_iops", load.rate_iops},
      {"loop", load.rate_iops == 0 ? "closed" : "open"},
      {"latency_recorded", load.record_latency},
      {"work", details(options)},
      {"clock", shift ? formatted("icount shift {}: times are instructions, not seconds", *shift)
                      : std::string()}};
}

}  // namespace ublkbench

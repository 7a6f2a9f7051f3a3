// SPDX-License-Identifier: MIT
// What a run is and does, as its record has it: see schema/run.schema.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/record/fields.hpp"
#include "bench/record/sample_record.hpp"
#include "bench/record/tool_identity.hpp"

namespace ublkbench {

/// A device that the run did not make, as far as two runs must have it in common: no numbers that
/// the next start changes.
struct ForeignIdentity {
  std::optional<unsigned> queues;
  std::optional<unsigned> depth = {};
  std::optional<std::uint64_t> max_io_bytes = {};
  std::optional<std::vector<std::string>> flags = {};
  std::optional<std::string> server = {};  ///< its name

  bool operator==(const ForeignIdentity&) const = default;
  static constexpr auto fields() {
    using I = ForeignIdentity;
    return std::tuple(nullable("queues", &I::queues), field("depth", &I::depth),
                      field("max_io_bytes", &I::max_io_bytes), field("flags", &I::flags),
                      nullable("server", &I::server));
  }
};

/// What decides how much work an I/O is, besides the cell. compare, gate, trend and --resume hold
/// each of them against the other run's: nothing else is to be done for a new one. What somebody
/// else's server has is empty, not what ours would have had; bench/record/identity.cpp knows those.
struct WorkDetails {
  unsigned rw_mix_read_percent = 0;
  unsigned submit_batch = 0;
  unsigned complete_batch = 0;
  bool fixed_buffers = true;
  bool registered_file = true;
  bool direct = true;
  bool hipri = false;
  bool allow_split = false;
  std::vector<int> load_cpus;
  std::optional<std::uint64_t> warmup_ns;   ///< of fixed time
  std::optional<std::uint64_t> warmup_ios;  ///< nothing: as many as the depth asks for
  std::optional<std::uint32_t> max_io_bytes = {};
  std::optional<bool> auto_zc_fallback = {};
  RawJson server_cpus = {};  ///< a list, or "queue", "free"
  std::optional<unsigned> spin_us = {};
  std::optional<unsigned> wait_count = {};
  std::optional<unsigned> wait_us = {};
  std::optional<std::string> wake_by = {};
  std::optional<unsigned> fetches = {};
  std::optional<unsigned> fetch_tags = {};
  std::optional<ForeignIdentity> device = {};
  std::optional<std::vector<std::string>> targets_with_holes = {};

  static constexpr auto fields() {
    using W = WorkDetails;
    return std::tuple(
        field("rw_mix_read_percent", &W::rw_mix_read_percent),
        field("submit_batch", &W::submit_batch), field("complete_batch", &W::complete_batch),
        field("fixed_buffers", &W::fixed_buffers), field("registered_file", &W::registered_file),
        field("direct", &W::direct), field("hipri", &W::hipri),
        field("allow_split", &W::allow_split), field("load_cpus", &W::load_cpus),
        nullable("warmup_ns", &W::warmup_ns), nullable("warmup_ios", &W::warmup_ios),
        nullable("max_io_bytes", &W::max_io_bytes),
        nullable("auto_zc_fallback", &W::auto_zc_fallback),
        Field<W, RawJson>{"server_cpus", &W::server_cpus, FieldKind::nullable},
        nullable("spin_us", &W::spin_us), nullable("wait_count", &W::wait_count),
        nullable("wait_us", &W::wait_us), nullable("wake_by", &W::wake_by),
        nullable("fetches", &W::fetches), nullable("fetch_tags", &W::fetch_tags),
        field("device", &W::device), field("targets_with_holes", &W::targets_with_holes));
  }
};

/// Of --mode all.
struct LeftOutMode {
  std::string mode;
  std::string why;

  static constexpr auto fields() {
    return std::tuple(field("mode", &LeftOutMode::mode), field("why", &LeftOutMode::why));
  }
};

struct RunRecord {
  std::string id;
  std::string started;  ///< UTC, RFC 3339
  std::vector<std::string> argv = {};
  ToolIdentity tool = {};
  std::uint64_t seed = 0;
  unsigned repeat = 0;
  std::string verify = {};               ///< "auto", "on", "off"
  std::optional<unsigned> queues = {};   ///< nothing: of somebody else's server
  std::optional<unsigned> daemons = {};  ///< nothing, too, where the cells do not agree
  unsigned jobs = 0;
  std::uint64_t ios = 0;
  std::uint64_t runtime_ns = 0;
  std::uint64_t rate_iops = 0;
  std::string loop = {};  ///< "closed", "open"
  bool latency_recorded = true;
  WorkDetails work = {};
  std::string clock = {};  ///< "icount shift 1: ...", where times are instructions
  std::vector<LeftOutMode> modes_left_out = {};
  std::optional<MeasuredDevice> device = {};  ///< somebody else's, when the run began
  std::optional<std::uint64_t> planted_instructions = {};

  static constexpr auto fields() {
    using R = RunRecord;
    return std::tuple(field("id", &R::id), field("started", &R::started), field("argv", &R::argv),
                      field("tool", &R::tool), field("seed", &R::seed), field("repeat", &R::repeat),
                      field("verify", &R::verify), nullable("queues", &R::queues),
                      nullable("daemons", &R::daemons), field("jobs", &R::jobs),
                      field("ios", &R::ios), field("runtime_ns", &R::runtime_ns),
                      field("rate_iops", &R::rate_iops), field("loop", &R::loop),
                      field("latency_recorded", &R::latency_recorded), field("work", &R::work),
                      field("clock", &R::clock), field("modes_left_out", &R::modes_left_out),
                      field("device", &R::device),
                      field("planted_instructions", &R::planted_instructions));
  }
};

}  // namespace ublkbench

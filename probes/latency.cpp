// SPDX-License-Identifier: MIT
#include "probes/latency.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include "bench/base/format.hpp"
#include "bench/base/percentile.hpp"
#include "bench/base/units.hpp"
#include "bench/record/distribution.hpp"
#include "latency.skel.h"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/latency_counts.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {.name = "begin",
       .ways = {{.hooks = {call_of("ublk_queue_rqs", LATENCY_ON_QUEUE_LIST),
                           call_of("ublk_queue_rq", LATENCY_ON_QUEUE_RQ)}},
                {.hooks = {call_of("ublk_queue_rq", LATENCY_ON_QUEUE_RQ)}}},
       .without = "ublk_queue_rq() cannot be traced",
       .required = true},
      {.name = "begin, batch",
       .ways = {{.hooks = {call_of("ublk_batch_queue_rqs", LATENCY_ON_QUEUE_LIST),
                           call_of("ublk_batch_queue_rq", LATENCY_ON_QUEUE_RQ)}}},
       .without = "no UBLK_F_BATCH_IO on this kernel"},
      {.name = "dispatch",
       .ways = {{.hooks = {call_of("ublk_cmd_list_tw_cb", LATENCY_ON_DISPATCH_LIST, "io_tw_req"),
                           call_of("ublk_cmd_tw_cb", LATENCY_ON_DISPATCH_ONE, "io_tw_req")}}},
       .without = "when the server gets a request is not known without it",
       .required = true},
      {.name = "dispatch, batch",
       .ways = {{.hooks = {call_of("io_uring_mshot_cmd_post_cqe", LATENCY_ON_FETCH_POSTED)}}},
       .without = "no FETCH_IO_CMDS on this kernel"},
      {.name = "the turn of a loop",
       .ways = {{.hooks = {call_of(enter_function, LATENCY_ON_ENTERED),
                           traced(enter_function, "returned")},
                 .remark = "when a server had seen a request and when it had submitted its I/O is "
                           "told from the turns of its loop"}},
       .without = "io_uring_enter() cannot be traced",
       .required = true},
      {.name = "commit",
       .ways = {{.hooks = {call_of("io_submit_sqes", LATENCY_ON_SUBMITTING)}}},
       .without = "io_submit_sqes() cannot be traced",
       .required = true},
      {.name = "commit, batch",
       .ways = {{.hooks = {call_of("ublk_handle_batch_commit_cmd", LATENCY_ON_BATCH_COMMIT)}}},
       .without = "no COMMIT_IO_CMDS on this kernel"},
      {.name = "completion",
       .ways = {{.hooks = {traced("blk_update_request", "updated")},
                 .remark =
                     "a program for each completion of the machine, which returns at once for "
                     "all but the requests that are followed"}},
       .without = "blk_update_request() cannot be traced",
       .required = true},
      {.name = "requests given back",
       .ways = {{.hooks = {tracepoint("block_rq_requeue", "requeued")}}},
       .without = "requests that the driver gives back count as lost"}};
  return all;
}

constexpr const char* stage_meanings[LATENCY_STAGES] = {
    "queue_rq to the driver's task work in the server's task",
    "to the return of that io_uring_enter(): the server sees the completion",
    "to the server's next io_uring_enter(): what it does before it waits again",
    "to the return of the last io_uring_enter() before the commit; 0 if there is none",
    "to the io_uring_enter() that commits",
    "to the block layer's completion",
    "all of it"};
constexpr auto stage_names = names_of(probed::Stage{});
static_assert(stage_names.size() == LATENCY_STAGES);
constexpr const char* op_names[LATENCY_OPS] = {"read", "write", "other"};

/// "8k" for above 4k and up to 8k.
std::string size_name(unsigned size) {
  if (size + 1 == LATENCY_SIZES) return "larger";
  const unsigned kib = (LATENCY_SMALLEST_BYTES / 1024U) << size;
  return kib < 1024 ? formatted("{}k", kib) : formatted("{}m", kib / 1024);
}

void merge(Stages& into, const Stages& other) {
  for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage) into[stage].merge(other[stage]);
}

probed::StageTimes times_of(const Stages& stages) {
  probed::StageTimes times;
  for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
    times.*probed::StageTimes::members()[stage] = distribution_of(stages[stage]);
  return times;
}

std::string p99_text(const Distribution& times) {
  return formatted("{}{}", thin_mark(times.count, 99), format_ns(times.p99));
}

std::string stage_table(const probed::StageTimes& stages) {
  std::string text = formatted("{:<9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>6}\n", "stage", "ios",
                               "mean", "p50", "p99", "max", "share");
  const auto total = static_cast<double>(stages.total.sum);
  for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage) {
    const Distribution& times = stages.of(static_cast<probed::Stage>(stage));
    text += formatted("{:<9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>5.1f}%\n", stage_names[stage],
                      times.count, format_ns(times.mean()), format_ns(times.p50), p99_text(times),
                      format_ns(static_cast<double>(times.max)),
                      total == 0 ? 0 : 100 * static_cast<double>(times.sum) / total);
  }
  if (!thin_mark(stages.total.count, 99).empty()) text += formatted("{}\n", thin_legend);
  return text;
}

/// A line for each class of requests: the mean of each stage, and the total's p99.
class ClassTable {
 public:
  explicit ClassTable(const char* name) {
    text_ = formatted("\n{:<7} {:<6} {:>9}", name, "op", "ios");
    for (const std::string_view stage : stage_names) text_ += formatted(" {:>9}", stage);
    text_ += formatted(" {:>9}\n", "p99");
  }
  void add(const std::string& label, const std::string& op, std::uint64_t ios,
           const probed::StageTimes& stages) {
    text_ += formatted("{:<7} {:<6} {:>9}", label, op, ios);
    for (const auto member : probed::StageTimes::members())
      text_ += formatted(" {:>9}", format_ns((stages.*member).mean()));
    text_ += formatted(" {:>9}\n", p99_text(stages.total));
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

constexpr Trouble<probed::LatencyTotals> troubles[] = {
    {&probed::LatencyTotals::lost_ios, "I/Os are in no histogram: an event of theirs was missed"},
    {&probed::LatencyTotals::uncommitted_ios,
     "I/Os failed without a commit: their server was gone"},
    {&probed::LatencyTotals::requeued_ios,
     "times an I/O went back to the block layer; its time begins anew"},
    {&probed::LatencyTotals::unseen_return_ios,
     "I/Os are in no histogram: when their server had seen them is not known (the first of each)"},
    {&probed::LatencyTotals::untracked_ios,
     "I/Os are in no histogram: no room for their tags; see --max-tags"},
    {&probed::LatencyTotals::unsplit_ios,
     "I/Os are not split: all between dispatch and commit counts as target (more than 4096 turns "
     "of "
     "the loop, a task beyond 64, or a commit by another task first)"},
    {&probed::LatencyTotals::unread_sqes,
     "SQEs were not read: of a SQPOLL ring, or of a task that serves several devices"},
    {&probed::LatencyTotals::missed_runs,
     "times a program did not run, as it was just running on that CPU: requests may be missing"}};

class LatencyProbe final : public ProbeOf<probed::Latency> {
 public:
  LatencyProbe() : ProbeOf(&probed::Records::latency) {}

  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    auto probe = std::make_unique<LatencyProbe>();
    if (auto opened = probe->bpf_.open("latency", roles(), setup); !opened)
      return std::unexpected(opened.error());
    aim(*probe->bpf_->rodata, setup.subject);
    probe->bpf_->rodata->max_tags = setup.max_tags;
    probe->bpf_->rodata->sample = setup.sample;
    bpf_map__set_max_entries(probe->bpf_->maps.ios, setup.max_tags);
    listen(*probe->bpf_->rodata, probe->bpf_.hooks());
    if (auto attached = probe->bpf_.attach(); !attached) return std::unexpected(attached.error());
    const auto& maps = probe->bpf_->maps;
    for (const auto& [map, elements, mapped] :
         {std::tuple(maps.by_size, LATENCY_OPS * LATENCY_SIZES, &probe->by_size_),
          std::tuple(maps.by_queue, LATENCY_QUEUES, &probe->by_queue_)}) {
      auto stages = MappedStages::open(map, elements);
      if (!stages) return std::unexpected(stages.error());
      *mapped = std::move(*stages);
    }
    return probe;
  }

  Result<> mark(Edge edge) override {
    auto counts = count();
    if (!counts) return std::unexpected(counts.error());
    edges_.keep(edge, std::move(*counts));
    return {};
  }

  [[nodiscard]] bool settled() const override { return in_flight(bpf_->bss->totals) == 0; }

 protected:
  [[nodiscard]] Result<probed::Latency> record_of(Span span) const override {
    auto counts = span == Span::window ? Result<LatencyCounts>(edges_.window()) : count();
    if (!counts) return std::unexpected(counts.error());
    probed::Latency record{{bpf_.hooks()}};
    record.sample = bpf_->rodata->sample;
    add_sizes(record, *counts);
    for (const auto& [queue, counted] : counts->by_queue) {
      const Stages stages = histograms_of(*counted);
      record.queues.push_back(
          {.queue = queue, .ios = stages[LATENCY_TOTAL].count(), .stages_ns = times_of(stages)});
    }
    record.totals = totals_of(*counts, span);
    return record;
  }

  [[nodiscard]] std::string text_of(const probed::Latency& record) const override {
    std::string text = tables(record);
    if (record.stages_ns->total.count != 0) {
      text += '\n';
      for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
        text += formatted(
            "{}: {}, in ns\n{}\n", stage_names[stage], stage_meanings[stage],
            log2_histogram(formatted("{}_ns", stage_names[stage]), events_of(record, stage)));
    }
    return text + troubles_of(record.totals);
  }

  [[nodiscard]] std::string brief_of(const probed::Latency& record) const override {
    std::string text = tables(record);
    if (record.stages_ns->total.count != 0) {
      text += histogram_titles();
      for (unsigned stage = 0; stage < LATENCY_STAGES; ++stage)
        text += histogram_line(std::string(stage_names[stage]), events_of(record, stage),
                               Values::times_ns);
    }
    return text + troubles_of(record.totals);
  }

 private:
  static std::uint64_t in_flight(const latency_totals& totals) {
    return totals.begun_ios - totals.finished_ios - totals.lost_ios - totals.uncommitted_ios -
           totals.requeued_ios - totals.unseen_return_ios;
  }

  static SizeEvents events_of(const probed::Latency& record, unsigned stage) {
    const auto& slots = record.stages_ns->of(static_cast<probed::Stage>(stage)).slots;
    return {slots.begin(), slots.end()};
  }

  static std::string troubles_of(const probed::LatencyTotals& totals) {
    const std::uint64_t in_flight_ios = totals.in_flight_ios.value_or(0);
    return (in_flight_ios == 0 ? std::string()
                               : formatted("{} I/Os are still in flight\n", in_flight_ios)) +
           trouble_text<probed::LatencyTotals>(totals, troubles);
  }

  static std::string tables(const probed::Latency& record) {
    if (record.stages_ns->total.count == 0)
      return sample_text(record) + "no I/O that was followed is completed\n";
    std::string text = sample_text(record) + stage_table(*record.stages_ns);
    if (record.ops_ns.size() > 1)
      for (const auto& [op, stages] : record.ops_ns)
        text += formatted("\n{}\n{}", op, stage_table(stages));
    if (record.sizes.size() > record.ops_ns.size()) {
      ClassTable table("size");
      for (const auto& of : record.sizes) table.add(of.size, of.op, of.ios, of.stages_ns);
      text += table.text();
    }
    if (record.queues.size() > 1) {
      ClassTable table("queue");
      for (const auto& of : record.queues)
        table.add(std::to_string(of.queue), "all", of.ios, of.stages_ns);
      text += table.text();
    }
    return text;
  }

  static std::string sample_text(const probed::Latency& record) {
    if (record.sample == 1) return {};
    return formatted("1 of {} requests is followed: {} of {}\n", record.sample,
                     record.totals.begun_ios, record.totals.requests);
  }

  /// By operation and size, by operation, and of all.
  static void add_sizes(probed::Latency& record, const LatencyCounts& counts) {
    Stages all;
    std::array<Stages, LATENCY_OPS> of_op;
    for (const auto& [place, counted] : counts.by_size) {
      const Stages stages = histograms_of(*counted);
      const unsigned op = place / LATENCY_SIZES;
      record.sizes.push_back({.op = op_names[op],
                              .size = size_name(place % LATENCY_SIZES),
                              .ios = stages[LATENCY_TOTAL].count(),
                              .stages_ns = times_of(stages)});
      merge(of_op[op], stages);
      merge(all, stages);
    }
    record.stages_ns = times_of(all);
    for (unsigned op = 0; op < LATENCY_OPS; ++op)
      if (!of_op[op][LATENCY_TOTAL].empty()) record.ops_ns[op_names[op]] = times_of(of_op[op]);
  }

  [[nodiscard]] Result<LatencyCounts> count() const {
    const auto handed = read_element_of_cpus<latency_handed>(bpf_->maps.handed, 0);
    if (!handed) return std::unexpected(handed.error());
    LatencyCounts counts;
    // Not while an I/O is being counted, stage by stage: then finished_ios is still without it.
    for (unsigned tries = 0; tries < 4; ++tries) {
      const std::uint64_t finished = bpf_->bss->totals.finished_ios;
      counts.by_size = by_size_.read();
      counts.by_queue = by_queue_.read();
      counts.totals = bpf_->bss->totals;
      if (counts.totals.finished_ios == finished && finished == ios_in(counts.by_size)) break;
    }
    counts.missed_runs = bpf_.missed_runs();
    counts.in_flight_ios = in_flight(counts.totals);
    for (const latency_handed& of_cpu : *handed) counts.requests += of_cpu.requests;
    return counts;
  }

  /// At a window's end I/Os are in flight as ever: no trouble, and named apart.
  static probed::LatencyTotals totals_of(const LatencyCounts& counts, Span span) {
    const latency_totals& totals = counts.totals;
    probed::LatencyTotals record{.requests = counts.requests,
                                 .begun_ios = totals.begun_ios,
                                 .finished_ios = totals.finished_ios,
                                 .in_flight_ios = {},
                                 .in_flight_at_end_ios = {},
                                 .lost_ios = totals.lost_ios,
                                 .uncommitted_ios = totals.uncommitted_ios,
                                 .requeued_ios = totals.requeued_ios,
                                 .unseen_return_ios = totals.unseen_return_ios,
                                 .untracked_ios = totals.untracked_ios,
                                 .unsplit_ios = totals.unsplit_ios,
                                 .unread_sqes = totals.unread_sqes,
                                 .missed_runs = counts.missed_runs};
    (span == Span::window ? record.in_flight_at_end_ios : record.in_flight_ios) =
        counts.in_flight_ios;
    return record;
  }

  BpfObject<latency_bpf> bpf_;
  MappedStages by_size_;
  MappedStages by_queue_;
  Edges<LatencyCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_latency(const ProbeSetup& setup) {
  return LatencyProbe::attach(setup);
}

}  // namespace ublkbench::probes

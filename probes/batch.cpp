// SPDX-License-Identifier: MIT
#include "probes/batch.h"

#include <bpf/libbpf.h>

#include <linux/ublk_cmd.h>
#include <algorithm>

#include <memory>

#include "batch.skel.h"
#include "bench/base/format.hpp"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/task_times.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

const std::vector<Role>& roles() {
  static const std::vector<Role> all = {
      {.name = "io commands per fetch, per I/O",
       .ways = {{.hooks = {call_of("ublk_cmd_list_tw_cb", BATCH_ON_DISPATCH_LIST, "io_tw_req"),
                           call_of("ublk_cmd_tw_cb", BATCH_ON_DISPATCH_ONE, "io_tw_req")},
                 .remark = "counts what task work dispatches; a request that the driver gives back "
                           "while it is dispatched counts too (totals.requeued_ios)"},
                {.hooks = {tracepoint("io_uring_complete", "completed_values", 7)},
                 .remark = "one program for each CQE of the machine, which misses some if it is "
                           "preempted (totals.missed_runs); queues are not told apart"},
                {.hooks = {tracepoint("io_uring_complete", "completed_cqe", 3)},
                 .remark = "one program for each CQE of the machine, which misses some if it is "
                           "preempted (totals.missed_runs); queues are not told apart"}},
       .without = "fetch batches of servers without UBLK_F_BATCH_IO are not counted"},
      {.name = "io commands per fetch, batch",
       .ways = {{.hooks = {call_of("io_uring_mshot_cmd_post_cqe", BATCH_ON_FETCH_POSTED),
                           call_of("ublk_batch_dispatch_fail.*", BATCH_ON_FETCH_NOT_POSTED)}},
                {.hooks = {call_of("io_uring_mshot_cmd_post_cqe", BATCH_ON_FETCH_POSTED)},
                 .remark = "tags that found no room in the completion ring count twice"}},
       .without = "no FETCH_IO_CMDS on this kernel"},
      {.name = "commits, batch",
       .ways = {{.hooks = {call_of("ublk_handle_batch_commit_cmd", BATCH_ON_BATCH_COMMIT)}}},
       .without = "no COMMIT_IO_CMDS on this kernel"},
      {.name = "commits per I/O, SQEs and CQEs per enter",
       .ways = {{.hooks = {call_of(enter_function, BATCH_ON_ENTERED)},
                 .remark = "reads the submission queue before it is consumed; a turn is from one "
                           "io_uring_enter() of a task to its next"}},
       .without = "io_uring_enter() cannot be traced",
       .required = true},
      {.name = "lists of requests",
       .ways = {{.hooks = {call_of("blk_mq_dispatch_queue_requests", BATCH_ON_QUEUE_COUNTED)},
                 .remark = "is called for the requests of all drivers"},
                {.hooks = {call_of("ublk_queue_rqs", BATCH_ON_QUEUE_LIST),
                           call_of("ublk_batch_queue_rqs", BATCH_ON_QUEUE_LIST)}},
                {.hooks = {call_of("ublk_queue_rqs", BATCH_ON_QUEUE_LIST)}}},
       .without = "the driver has no queue_rqs: requests come one by one"},
      {.name = "single requests, batch",
       .ways = {{.hooks = {call_of("ublk_batch_queue_rq", BATCH_ON_BATCH_QUEUE_RQ),
                           call_of("ublk_commit_rqs", BATCH_ON_COMMIT_RQS)}}},
       .without = "no UBLK_F_BATCH_IO on this kernel"},
      {.name = "single requests",
       .ways = {{.hooks = {call_of("ublk_queue_rq", BATCH_ON_QUEUE_RQ)}}},
       .without = "requests that come one by one are not counted"},
      {.name = "requests given back",
       .ways = {{.hooks = {tracepoint("block_rq_requeue", "requeued")}}},
       .without = "requests that the driver gives back are not counted"}};
  return all;
}

struct Kind {
  std::optional<EventSizes> probed::Batch::* sizes;
  const char* meaning;

  [[nodiscard]] std::string_view name() const { return field_name(sizes); }
};

constexpr Kind kinds[BATCH_KINDS] = {
    {&probed::Batch::fetch_batch,
     "io commands per fetch: per FETCH_IO_CMDS completion with UBLK_F_BATCH_IO, "
     "per turn of the server's loop without"},
    {&probed::Batch::commit_batch,
     "results per commit: elements of a COMMIT_IO_CMDS with UBLK_F_BATCH_IO, "
     "COMMIT_AND_FETCH_REQs per io_uring_enter() without"},
    {&probed::Batch::server_sqes, "SQEs per io_uring_enter() of the server"},
    {&probed::Batch::server_cqes, "CQEs per turn of the server's loop"},
    {&probed::Batch::client_sqes, "SQEs per io_uring_enter() of the clients"},
    {&probed::Batch::client_cqes, "CQEs per turn of the clients' loops"},
    {&probed::Batch::queued_requests, "requests that the block layer gave the driver at once"}};

struct BatchCounts {
  std::map<batch_key, SizeEvents, ByBytes> sizes;
  batch_totals totals{};
  std::uint64_t missed_runs = 0;
};

BatchCounts operator-(const BatchCounts& later, const BatchCounts& earlier) {
  BatchCounts counts{.sizes = {},
                     .totals = minus(later.totals, earlier.totals),
                     .missed_runs = later.missed_runs - earlier.missed_runs};
  for (const auto& [key, sizes] : later.sizes) {
    const auto before = earlier.sizes.find(key);
    auto rest = before == earlier.sizes.end() ? sizes : minus(sizes, before->second);
    if (!rest.empty()) counts.sizes.emplace(key, std::move(rest));
  }
  return counts;
}

constexpr Trouble<probed::BatchTotals> troubles[] = {
    {&probed::BatchTotals::lost_events,
     "batches are in no histogram: too many tasks and queues for the table"},
    {&probed::BatchTotals::sqpoll_ios,
     "io commands went to SQPOLL threads: neither they nor their commits are in a "
     "histogram"},
    {&probed::BatchTotals::aborted_ios,
     "io commands went back to the driver: their task was exiting"},
    {&probed::BatchTotals::resubmitted_sqes,
     "SQEs were counted twice: the kernel had not consumed them the first time (no memory, or a "
     "bad "
     "SQE before them)"},
    {&probed::BatchTotals::unread_sqes,
     "SQEs were not read for commits: of tasks that also serve devices that were not asked for"},
    {&probed::BatchTotals::missed_runs,
     "times a program did not run, as it was just running on that CPU: batches are missing"},
    {&probed::BatchTotals::requeued_ios,
     "requests went back to the block layer; some may count as fetched twice"}};

class BatchProbe final : public ProbeOf<probed::Batch> {
 public:
  BatchProbe() : ProbeOf(&probed::Records::batch) {}

  static Result<std::unique_ptr<Probe>> attach(const ProbeSetup& setup) {
    auto probe = std::make_unique<BatchProbe>();
    if (auto opened = probe->bpf_.open("batch", roles(), setup); !opened)
      return std::unexpected(opened.error());
    aim(*probe->bpf_->rodata, setup.subject);
    probe->bpf_->rodata->may_need_get_data = may_need_get_data(setup.subject);
    probe->bpf_->rodata->several_queues = several_queues(setup.subject);
    probe->bpf_->rodata->late_fetch_by_sqe = probe->bpf_.hooks().uses("ublk_cmd_list_tw_cb");
    listen(*probe->bpf_->rodata, probe->bpf_.hooks());
    if (auto attached = probe->bpf_.attach(); !attached) return std::unexpected(attached.error());
    return probe;
  }

  Result<> mark(Edge edge) override {
    auto counts = count();
    if (!counts) return std::unexpected(counts.error());
    edges_.keep(edge, std::move(*counts));
    return {};
  }

  [[nodiscard]] bool settled() const override {
    const batch_totals& totals = bpf_->bss->totals;
    // Where not all commits are read nobody can tell.
    return totals.fetched_ios == totals.committed_ios || totals.unread_sqes != 0;
  }

 protected:
  [[nodiscard]] Result<probed::Batch> record_of(Span span) const override {
    const auto counts = span == Span::window ? Result<BatchCounts>(edges_.window()) : count();
    if (!counts) return std::unexpected(counts.error());
    probed::Batch record{{bpf_.hooks()}};
    for (const auto& [key, sizes] : counts->sizes) {
      auto& sum = record.*kinds[key.kind].sizes;
      if (!sum) sum.emplace();
      for (const auto& [size, events] : sizes) sum->size_events[size] += events;
      record.parts.push_back(part(key, sizes));
    }
    record.totals = totals_of(*counts);
    return record;
  }

  [[nodiscard]] std::string text_of(const probed::Batch& record) const override {
    std::string text;
    for (const Kind& kind : kinds)
      if (const auto& sizes = record.*kind.sizes)
        text += formatted("{} (mean {:.1f})\n{}\n", kind.meaning, sizes->mean(),
                          log2_histogram(std::string(kind.name()), sizes->size_events));
    if (text.empty()) text = "no I/O was seen\n";
    return text + trouble_text<probed::BatchTotals>(record.totals, troubles);
  }

  [[nodiscard]] std::string brief_of(const probed::Batch& record) const override {
    std::string lines;
    for (const Kind& kind : kinds)
      if (const auto& sizes = record.*kind.sizes)
        lines += histogram_line(std::string(kind.name()), sizes->size_events, Values::numbers);
    return (lines.empty() ? "no I/O was seen\n" : histogram_titles() + lines) +
           trouble_text<probed::BatchTotals>(record.totals, troubles);
  }

 private:
  static bool may_need_get_data(const Subject& subject) {
    return subject.all || std::ranges::any_of(subject.devices, [](const Device& device) {
             return (device.flags & UBLK_F_NEED_GET_DATA) != 0;
           });
  }

  static bool several_queues(const Subject& subject) {
    return subject.all || std::ranges::any_of(subject.devices, [](const Device& device) {
             return device.queues > 1;
           });
  }

  [[nodiscard]] Result<BatchCounts> count() const {
    BatchCounts counts{.sizes = {}, .totals = bpf_->bss->totals, .missed_runs = bpf_.missed_runs()};
    const auto histogram = std::make_unique<batch_histogram>();
    for (const auto& [key, index] : elements_of<batch_key, __u32, ByBytes>(bpf_->maps.places)) {
      if (index >= BATCH_HISTOGRAMS) continue;
      if (auto read =
              read_element(bpf_->maps.histograms, index, histogram.get(), sizeof(*histogram));
          !read)
        return std::unexpected(read.error());
      SizeEvents& sizes = counts.sizes[key];
      for (unsigned size = 0; size <= BATCH_LARGEST; ++size)
        if (histogram->events[size] != 0) sizes[size] = histogram->events[size];
    }
    return counts;
  }

  static probed::BatchPart part(const batch_key& key, const SizeEvents& sizes) {
    probed::BatchPart part{{.size_events = sizes}};
    part.histogram = kinds[key.kind].name();
    part.device = key.dev;
    if (key.queue != BATCH_ANY_QUEUE) part.queue = key.queue;
    part.task = task_name(key.tid, key.comm);
    return part;
  }

  static probed::BatchTotals totals_of(const BatchCounts& counts) {
    const batch_totals& totals = counts.totals;
    probed::BatchTotals record{
        {.lost_events = totals.lost_events, .missed_runs = counts.missed_runs}};
    record.fetched_ios = totals.fetched_ios;
    record.committed_ios = totals.committed_ios;
    record.sqpoll_ios = totals.sqpoll_ios;
    record.resubmitted_sqes = totals.resubmitted_sqes;
    record.unread_sqes = totals.unread_sqes;
    record.aborted_ios = totals.aborted_ios;
    record.requeued_ios = totals.requeued_ios;
    return record;
  }

  BpfObject<batch_bpf> bpf_;
  Edges<BatchCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_batch(const ProbeSetup& setup) {
  return BatchProbe::attach(setup);
}

}  // namespace ublkbench::probes

// SPDX-License-Identifier: MIT
#include "probes/batch.h"

#include <bpf/libbpf.h>

#include <linux/ublk_cmd.h>
#include <algorithm>

#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "batch.skel.h"
#include "bench/base/format.hpp"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

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

struct KindName {
  const char* name;
  const char* meaning;
};

constexpr KindName kind_names[BATCH_KINDS] = {
    {"fetch_batch",
     "io commands per fetch: per FETCH_IO_CMDS completion with UBLK_F_BATCH_IO, "
     "per turn of the server's loop without"},
    {"commit_batch",
     "results per commit: elements of a COMMIT_IO_CMDS with UBLK_F_BATCH_IO, "
     "COMMIT_AND_FETCH_REQs per io_uring_enter() without"},
    {"server_sqes", "SQEs per io_uring_enter() of the server"},
    {"server_cqes", "CQEs per turn of the server's loop"},
    {"client_sqes", "SQEs per io_uring_enter() of the clients"},
    {"client_cqes", "CQEs per turn of the clients' loops"},
    {"queued_requests", "requests that the block layer gave the driver at once"}};

json pairs(const ValueCounts& counts) {
  json list = json::array();
  for (const auto& [size, events] : counts) list.push_back({size, events});
  return list;
}

double mean(const ValueCounts& counts) {
  double events = 0;
  double sum = 0;
  for (const auto& [size, count] : counts) {
    events += static_cast<double>(count);
    sum += static_cast<double>(size) * static_cast<double>(count);
  }
  return events == 0 ? 0 : sum / events;
}

json histogram_json(const ValueCounts& counts) {
  return {{"mean", mean(counts)}, {"size_events", pairs(counts)}};
}

struct BatchCounts {
  std::map<batch_key, ValueCounts, ByBytes> sizes;
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

constexpr Trouble troubles[] = {
    {"lost_events", "batches are in no histogram: too many tasks and queues for the table"},
    {"sqpoll_ios",
     "io commands went to SQPOLL threads: neither they nor their commits are in a "
     "histogram"},
    {"aborted_ios", "io commands went back to the driver: their task was exiting"},
    {"resubmitted_sqes",
     "SQEs were counted twice: the kernel had not consumed them the first time (no memory, or a "
     "bad "
     "SQE before them)"},
    {"unread_sqes",
     "SQEs were not read for commits: of tasks that also serve devices that were not asked for"},
    {"missed_runs",
     "times a program did not run, as it was just running on that CPU: batches are missing"},
    {"requeued_ios", "requests went back to the block layer; some may count as fetched twice"}};

class BatchProbe final : public Probe {
 public:
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

  [[nodiscard]] Result<json> record(Span span) const override {
    const auto counts = span == Span::window ? Result<BatchCounts>(edges_.window()) : count();
    if (!counts) return std::unexpected(counts.error());
    ValueCounts sums[BATCH_KINDS];
    json parts = json::array();
    for (const auto& [key, sizes] : counts->sizes) {
      for (const auto& [size, events] : sizes) sums[key.kind][size] += events;
      parts.push_back(part(key, sizes));
    }
    json record = {{"used", bpf_.hooks().used()}, {"unavailable", bpf_.hooks().unavailable()}};
    for (unsigned kind = 0; kind < BATCH_KINDS; ++kind)
      if (!sums[kind].empty()) record[kind_names[kind].name] = histogram_json(sums[kind]);
    record["parts"] = parts;
    record["totals"] = totals_json(*counts);
    return record;
  }

  [[nodiscard]] std::string text(const json& record) const override {
    std::string text;
    for (const KindName& kind : kind_names) {
      if (!record.contains(kind.name)) continue;
      const ValueCounts counts = counts_from(record[kind.name]["size_events"]);
      text += formatted("{} (mean {:.1f})\n{}\n", kind.meaning, mean(counts),
                        log2_histogram(kind.name, counts));
    }
    if (text.empty()) text = "no I/O was seen\n";
    return text + trouble_text(record["totals"], troubles);
  }

  [[nodiscard]] std::string brief(const json& record) const override {
    std::string lines;
    for (const KindName& kind : kind_names)
      if (record.contains(kind.name))
        lines += histogram_line(kind.name, counts_from(record[kind.name]["size_events"]),
                                Values::numbers);
    return (lines.empty() ? "no I/O was seen\n" : histogram_titles() + lines) +
           trouble_text(record["totals"], troubles);
  }

  [[nodiscard]] bool settled() const override {
    const batch_totals& totals = bpf_->bss->totals;
    // Where not all commits are read nobody can tell.
    return totals.fetched_ios == totals.committed_ios || totals.unread_sqes != 0;
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
      ValueCounts& sizes = counts.sizes[key];
      for (unsigned size = 0; size <= BATCH_LARGEST; ++size)
        if (histogram->events[size] != 0) sizes[size] = histogram->events[size];
    }
    return counts;
  }

  static json part(const batch_key& key, const ValueCounts& counts) {
    return {{"histogram", kind_names[key.kind].name},
            {"device", key.dev},
            {"queue", key.queue == BATCH_ANY_QUEUE ? json() : json(key.queue)},
            {"task", {{"tid", key.tid}, {"name", std::string(key.comm, ::strnlen(key.comm, 16))}}},
            {"mean", mean(counts)},
            {"size_events", pairs(counts)}};
  }

  static json totals_json(const BatchCounts& counts) {
    const batch_totals& totals = counts.totals;
    return {{"fetched_ios", totals.fetched_ios},
            {"committed_ios", totals.committed_ios},
            {"lost_events", totals.lost_events},
            {"sqpoll_ios", totals.sqpoll_ios},
            {"resubmitted_sqes", totals.resubmitted_sqes},
            {"unread_sqes", totals.unread_sqes},
            {"aborted_ios", totals.aborted_ios},
            {"requeued_ios", totals.requeued_ios},
            {"missed_runs", counts.missed_runs}};
  }

  BpfObject<batch_bpf> bpf_;
  Edges<BatchCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_batch(const ProbeSetup& setup) {
  return BatchProbe::attach(setup);
}

}  // namespace ublkbench::probes

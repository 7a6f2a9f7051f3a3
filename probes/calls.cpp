// SPDX-License-Identifier: MIT
// The probes that count calls of the driver's functions: tags, zc, errors. Each is a table.
#include "probes/calls.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "calls.skel.h"
#include "probes/lib/bpf_object.hpp"
#include "probes/lib/completed_ios.hpp"
#include "probes/lib/edges.hpp"
#include "probes/lib/histogram_text.hpp"
#include "probes/lib/in_flight.hpp"
#include "probes/lib/trouble_text.hpp"
#include "probes/probes.hpp"

namespace ublkbench::probes {
namespace {

using nlohmann::json;

/// One thing that is counted.
struct Call {
  const char* name;
  const char* meaning;
  std::vector<Hook> hooks;
  std::vector<Hook> on_older = {};  ///< on a kernel that has not all of them
  int fixed = -1;  ///< its counter, where the program decides; else its place in the table
};

struct CallsKind {
  const char* probe;
  std::vector<Call> calls;
  bool queues = false;   ///< also how full the queues are
  bool buffers = false;  ///< also whose buffers were held for how long
};

/// A call that counts in its row of the probe's table, which roles_of() puts into the event.
Hook counted(const char* function, calls_argument argument = CALLS_ANY_DEVICE,
             unsigned position = 0) {
  return call_of(function, CALLS_EVENT(0, argument, position));
}

/// The same, if its return says so.
std::vector<Hook> returning(const char* function, calls_argument argument, unsigned position = 0) {
  return {counted(function, argument, position),
          return_of(function, CALLS_EVENT(0, argument, position))};
}

const CallsKind& zc_kind() {
  static const CallsKind kind{
      .probe = "zc",
      .calls = {{"registrations", "buffers registered in a ring, by command or with a fetch",
                 returning("io_buffer_register_request", CALLS_REGISTER, 1)},
                // By the file's own functions: what a command is given to, the compiler may have
                // put into them (ublk_daemon_register_io_buf() of Linux 7.3).
                {.name = "register_commands",
                 .meaning = "REGISTER_IO_BUF, also those that failed",
                 .hooks = {counted("ublk_ch_uring_cmd", CALLS_COMMAND),
                           counted("ublk_ch_batch_io_uring_cmd", CALLS_COMMAND)},
                 .on_older = {counted("ublk_ch_uring_cmd", CALLS_COMMAND)}},
                {"releases",
                 "last references to a registered buffer dropped",
                 {counted("ublk_io_release", CALLS_RELEASE)}},
                {"shmem_lookups", "requests looked for in shared memory (UBLK_F_SHMEM_ZC)",
                 returning("ublk_try_buf_match", CALLS_MATCH)}},
      .buffers = true};
  return kind;
}

const CallsKind& errors_kind() {
  static const CallsKind kind{
      .probe = "errors",
      .calls = {
          {.name = "failed_requests",
           .meaning = "completions with an error",
           .hooks = {tracepoint("block_rq_error", "failed")},
           .fixed = CALLS_FAILED},
          {.name = "requeued_requests",
           .meaning = "times that a request was given back to the block layer",
           .hooks = {tracepoint("block_rq_requeue", "requeued")},
           .fixed = CALLS_REQUEUED},
          {"timeouts", "requests that ran out of time", {counted("ublk_timeout", CALLS_REQUEST)}},
          {"failed_by_driver",
           "requests taken back from a server that is gone: ended or reissued",
           {counted("__ublk_fail_req", CALLS_DEVICE)}},
          {"cancelled_commands",
           "attempts to give back an io command: its task ends or its ring closes",
           {counted("ublk_cancel_cmd", CALLS_QUEUE)}},
          {"cancelled_fetches",
           "attempts to give back a FETCH_IO_CMDS",
           {counted("ublk_batch_cancel_cmd", CALLS_QUEUE)}},
          {"fetches_without_room",
           "fetched tags that went back to their queue: no room for the completion (all devices)",
           {counted("ublk_batch_dispatch_fail.*")}}}};
  return kind;
}

const CallsKind& tags_kind() {
  static const CallsKind kind{
      .probe = "tags",
      .calls = {{.name = "tag_waits",
                 .meaning = "times a client had to wait for a tag",
                 .hooks = {tracepoint("block_rq_tag_wait", "tag_wait")},
                 .fixed = CALLS_TAG_WAITS},
                {"queue_fill", "", {counted("ublk_batch_dispatch", CALLS_FETCH)}}},
      .queues = true};
  return kind;
}

/// A role for each call: what is not there on this kernel is named, and the rest is counted.
std::vector<Role> roles_of(const CallsKind& kind) {
  std::vector<Role> roles;
  for (unsigned row = 0; row < kind.calls.size(); ++row) {
    const Call& call = kind.calls[row];
    Role role{.name = call.name,
              .ways = {{.hooks = call.hooks}},
              .without = "not counted: the kernel has no such function to attach to"};
    if (!call.on_older.empty()) role.ways.push_back({.hooks = call.on_older});
    for (Way& way : role.ways)
      for (Hook& hook : way.hooks)
        if (hook.kind != Hook::Kind::tracepoint) hook.event |= CALLS_EVENT(row, 0, 0);
    roles.push_back(std::move(role));
  }
  return roles;
}

constexpr Trouble troubles[] = {
    {"lost_events", "events are not counted: too many tags or tasks for the table"},
    {"missed_runs", "times a program did not run, as it was just running on that CPU"}};

struct CallsCounts {
  calls_counts calls{};
  std::uint64_t completed_ios = 0;
  std::uint64_t missed_runs = 0;
};

CallsCounts operator-(const CallsCounts& later, const CallsCounts& earlier) {
  return {.calls = minus(later.calls, earlier.calls),
          .completed_ios = later.completed_ios - earlier.completed_ios,
          .missed_runs = later.missed_runs - earlier.missed_runs};
}

class CallsProbe final : public Probe {
 public:
  explicit CallsProbe(const CallsKind& kind) : kind_(kind) {}

  static Result<std::unique_ptr<Probe>> attach(const CallsKind& kind, const ProbeSetup& setup) {
    auto probe = std::make_unique<CallsProbe>(kind);
    if (auto opened = probe->bpf_.open(kind.probe, roles_of(kind), setup); !opened)
      return std::unexpected(opened.error());
    aim(*probe->bpf_->rodata, setup.subject);
    probe->bpf_->rodata->heard_events[CALLS_FETCH] = probe->bpf_.hooks().has("queue_fill");
    if (auto attached = probe->bpf_.attach(); !attached) return std::unexpected(attached.error());
    probe->completed_ios_ = std::make_unique<CompletedIos>(setup.subject);
    if (kind.queues) probe->in_flight_ = std::make_unique<InFlightSeries>(setup.subject);
    return probe;
  }

  void look() override { completed_ios_->look(); }

  Result<> mark(Edge edge) override {
    edges_.keep(edge, count());
    if (!in_flight_) return {};
    if (edge == Edge::begin)
      in_flight_->restart();
    else
      in_flight_->stop();
    return {};
  }

  [[nodiscard]] Result<json> record(Span span) const override {
    const CallsCounts counted = span == Span::window ? edges_.window() : count();
    const calls_counts& counts = counted.calls;
    json record = {
        {"used", bpf_.hooks().used()},
        {"unavailable", bpf_.hooks().unavailable()},
        {"completed_ios", counted.completed_ios},
        {"totals", {{"lost_events", counts.lost_events}, {"missed_runs", counted.missed_runs}}}};
    for (unsigned at = 0; at < kind_.calls.size(); ++at)
      if (*kind_.calls[at].meaning != '\0' && bpf_.hooks().has(kind_.calls[at].name))
        record[kind_.calls[at].name] = counts.calls[counter(at)];
    if (record.contains("releases"))
      record["releases_off_task"] = counts.calls[CALLS_RELEASED_OFF_TASK];
    if (record.contains("register_commands"))
      record["unregister_commands"] = counts.calls[CALLS_UNREGISTER_COMMANDS];
    if (record.contains("registrations"))
      record["failed_registrations"] = counts.calls[CALLS_NOT_REGISTERED];
    if (record.contains("shmem_lookups")) {
      const std::uint64_t hits = counts.calls[CALLS_SHMEM_HITS];
      record["shmem_hits"] = hits;
      record["shmem_misses"] = record["shmem_lookups"].get<std::uint64_t>() - hits;
    }
    if (kind_.buffers) add_buffers(record);
    if (kind_.queues) {
      record["in_flight"] = in_flight_->to_json();
      record["fifo_tags_events"] = pairs(counts.fifo_tags);
      record["fetch_commands_events"] = pairs(counts.fetch_commands);
    }
    return record;
  }

  [[nodiscard]] std::string text(const json& record) const override {
    std::string text = lines(record);
    if (!kind_.queues) return text;
    text +=
        picture(record, "fifo_tags", "tags in a batch queue when a fetch command takes from it");
    text += picture(record, "fetch_commands", "FETCH_IO_CMDS that the queue has then");
    return text + InFlightSeries::text(record["in_flight"]);
  }

  [[nodiscard]] std::string brief(const json& record) const override {
    if (!kind_.queues) return lines(record);
    std::string histograms;
    for (const char* const name : {"fifo_tags", "fetch_commands"})
      histograms += histogram_line(name, counts_from(record[std::string(name) + "_events"]),
                                   Values::numbers_log2);
    histograms += InFlightSeries::brief(record["in_flight"]);
    return lines(record) + (histograms.empty() ? "" : histogram_titles() + histograms);
  }

 private:
  [[nodiscard]] CallsCounts count() const {
    return {.calls = bpf_->bss->counts,
            .completed_ios = completed_ios_->look(),
            .missed_runs = bpf_.missed_runs()};
  }

  [[nodiscard]] std::string lines(const json& record) const {
    std::string text = formatted("{:>12} I/Os completed\n", record.value("completed_ios", 0ULL));
    for (const Call& call : kind_.calls)
      if (record.contains(call.name))
        text +=
            formatted("{:>12} {}: {}\n", record.value(call.name, 0ULL), call.name, call.meaning);
    if (record.contains("releases"))
      text += formatted("{:>12} releases_off_task: of these outside of the server's tasks\n",
                        record.value("releases_off_task", 0ULL));
    if (record.contains("unregister_commands"))
      text += formatted("{:>12} unregister_commands: UNREGISTER_IO_BUF\n",
                        record.value("unregister_commands", 0ULL));
    if (record.contains("failed_registrations"))
      text += formatted("{:>12} failed_registrations: of buffers\n",
                        record.value("failed_registrations", 0ULL));
    if (record.contains("shmem_hits"))
      text += formatted("{:>12} shmem_hits, {} shmem_misses: of these look-ups\n",
                        record.value("shmem_hits", 0ULL), record.value("shmem_misses", 0ULL));
    text += trouble_text(record["totals"], troubles);
    // Since the probe was attached, also in a window: a longest one has no difference.
    if (kind_.buffers)
      text += buffer_lines(record["held_now"], "held now, for") +
              buffer_lines(record["held_longest"],
                           "longest held and released since the probe was attached, for");
    const auto ios = record.value("completed_ios", 0ULL);
    const auto waits = record.value("tag_waits", 0ULL);
    if (ios != 0 && waits * 20 > ios)
      text += formatted(
          "tag-starved: a client waited for a tag {:.2f} times an I/O; a deeper queue (-d) or more "
          "queues (-q) would let more I/Os in\n",
          static_cast<double>(waits) / static_cast<double>(ios));
    return text;
  }

  struct Held {
    calls_tag tag;
    std::uint64_t ns;
  };
  static constexpr std::size_t most_buffers = 10;

  /// The tags whose buffers are held now and were held the longest, longest first.
  void add_buffers(json& record) const {
    std::vector<Held> now;
    std::vector<Held> longest;
    const std::uint64_t at_ns = now_ns();
    calls_tag tag{};
    const void* previous = nullptr;
    while (bpf_map__get_next_key(bpf_->maps.buffers, previous, &tag, sizeof(tag)) == 0) {
      previous = &tag;
      calls_buffer buffer{};
      if (bpf_map__lookup_elem(bpf_->maps.buffers, &tag, sizeof(tag), &buffer, sizeof(buffer), 0) !=
          0)
        continue;
      if (buffer.held != 0)
        now.push_back({tag, at_ns - std::min<std::uint64_t>(at_ns, buffer.since_ns)});
      if (buffer.longest_ns != 0) longest.push_back({tag, buffer.longest_ns});
    }
    record["buffers_held_now"] = now.size();
    record["held_now"] = buffers_json(now);
    record["held_longest"] = buffers_json(longest);
  }

  static json buffers_json(std::vector<Held>& buffers) {
    std::ranges::sort(buffers, std::ranges::greater(), &Held::ns);
    json list = json::array();
    for (const Held& held : buffers) {
      if (list.size() == most_buffers) break;
      list.push_back({{"device", held.tag.device},
                      {"queue", held.tag.queue},
                      {"tag", held.tag.tag},
                      {"held_ns", held.ns}});
    }
    return list;
  }

  static std::string buffer_lines(const json& list, const char* what) {
    std::string text;
    for (const json& held : list)
      text += formatted("buffer of device {} queue {} tag {} {} {}\n", held["device"].get<int>(),
                        held["queue"].get<int>(), held["tag"].get<int>(), what,
                        format_ns(held["held_ns"].get<double>()));
    return text;
  }

  [[nodiscard]] unsigned counter(unsigned at) const {
    return kind_.calls[at].fixed >= 0 ? static_cast<unsigned>(kind_.calls[at].fixed) : at;
  }

  static json pairs(const __u64 (&slots)[CALLS_SLOTS]) {
    json list = json::array();
    for (unsigned slot = 0; slot < CALLS_SLOTS; ++slot)
      if (slots[slot] != 0) list.push_back({slot == 0 ? 0ULL : 1ULL << (slot - 1), slots[slot]});
    return list;
  }

  static std::string picture(const json& record, const std::string& name, const char* meaning) {
    const ValueCounts counts = counts_from(record[name + "_events"]);
    return counts.empty() ? "" : formatted("\n{}\n{}", meaning, log2_histogram(name, counts));
  }

  const CallsKind& kind_;
  BpfObject<calls_bpf> bpf_;
  std::unique_ptr<InFlightSeries> in_flight_;  // of tags
  std::unique_ptr<CompletedIos> completed_ios_;
  Edges<CallsCounts> edges_;
};

}  // namespace

Result<std::unique_ptr<Probe>> attach_tags(const ProbeSetup& setup) {
  return CallsProbe::attach(tags_kind(), setup);
}

Result<std::unique_ptr<Probe>> attach_zc(const ProbeSetup& setup) {
  return CallsProbe::attach(zc_kind(), setup);
}

Result<std::unique_ptr<Probe>> attach_errors(const ProbeSetup& setup) {
  return CallsProbe::attach(errors_kind(), setup);
}

}  // namespace ublkbench::probes

// SPDX-License-Identifier: MIT
// The probes that count calls of the driver's functions: tags, zc, errors. Each is a table.
#include "probes/calls.h"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <memory>
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

/// One thing that is counted.
struct Call {
  std::optional<std::uint64_t> probed::Calls::* count;  ///< null: counts nothing by itself
  const char* meaning;
  std::vector<Hook> hooks;
  std::vector<Hook> on_older = {};  ///< on a kernel that has not all of them
  int fixed = -1;  ///< its counter, where the program decides; else its place in the table

  [[nodiscard]] std::string_view name() const {
    return count == nullptr ? "queue_fill" : field_name(count);
  }
};

struct CallsKind {
  ProbeOf<probed::Calls>::Place place;
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
      .place = &probed::Records::zc,
      .calls = {{&probed::Calls::registrations,
                 "buffers registered in a ring, by command or with a fetch",
                 returning("io_buffer_register_request", CALLS_REGISTER, 1)},
                // By the file's own functions: what a command is given to, the compiler may have
                // put into them (ublk_daemon_register_io_buf() of Linux 7.3).
                {.count = &probed::Calls::register_commands,
                 .meaning = "REGISTER_IO_BUF, also those that failed",
                 .hooks = {counted("ublk_ch_uring_cmd", CALLS_COMMAND),
                           counted("ublk_ch_batch_io_uring_cmd", CALLS_COMMAND)},
                 .on_older = {counted("ublk_ch_uring_cmd", CALLS_COMMAND)}},
                {&probed::Calls::releases,
                 "last references to a registered buffer dropped",
                 {counted("ublk_io_release", CALLS_RELEASE)}},
                {&probed::Calls::shmem_lookups,
                 "requests looked for in shared memory (UBLK_F_SHMEM_ZC)",
                 returning("ublk_try_buf_match", CALLS_MATCH)}},
      .buffers = true};
  return kind;
}

const CallsKind& errors_kind() {
  static const CallsKind kind{
      .place = &probed::Records::errors,
      .calls = {
          {.count = &probed::Calls::failed_requests,
           .meaning = "completions with an error",
           .hooks = {tracepoint("block_rq_error", "failed")},
           .fixed = CALLS_FAILED},
          {.count = &probed::Calls::requeued_requests,
           .meaning = "times that a request was given back to the block layer",
           .hooks = {tracepoint("block_rq_requeue", "requeued")},
           .fixed = CALLS_REQUEUED},
          {&probed::Calls::timeouts,
           "requests that ran out of time",
           {counted("ublk_timeout", CALLS_REQUEST)}},
          {&probed::Calls::failed_by_driver,
           "requests taken back from a server that is gone: ended or reissued",
           {counted("__ublk_fail_req", CALLS_DEVICE)}},
          {&probed::Calls::cancelled_commands,
           "attempts to give back an io command: its task ends or its ring closes",
           {counted("ublk_cancel_cmd", CALLS_QUEUE)}},
          {&probed::Calls::cancelled_fetches,
           "attempts to give back a FETCH_IO_CMDS",
           {counted("ublk_batch_cancel_cmd", CALLS_QUEUE)}},
          {&probed::Calls::fetches_without_room,
           "fetched tags that went back to their queue: no room for the completion (all devices)",
           {counted("ublk_batch_dispatch_fail.*")}}}};
  return kind;
}

const CallsKind& tags_kind() {
  static const CallsKind kind{
      .place = &probed::Records::tags,
      .calls = {{.count = &probed::Calls::tag_waits,
                 .meaning = "times a client had to wait for a tag",
                 .hooks = {tracepoint("block_rq_tag_wait", "tag_wait")},
                 .fixed = CALLS_TAG_WAITS},
                {nullptr, "", {counted("ublk_batch_dispatch", CALLS_FETCH)}}},
      .queues = true};
  return kind;
}

/// A role for each call: what is not there on this kernel is named, and the rest is counted.
std::vector<Role> roles_of(const CallsKind& kind) {
  std::vector<Role> roles;
  for (unsigned row = 0; row < kind.calls.size(); ++row) {
    const Call& call = kind.calls[row];
    Role role{.name = call.name(),
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

constexpr Trouble<probed::Missed> troubles[] = {
    {&probed::Missed::lost_events, "events are not counted: too many tags or tasks for the table"},
    {&probed::Missed::missed_runs,
     "times a program did not run, as it was just running on that CPU"}};

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

class CallsProbe final : public ProbeOf<probed::Calls> {
 public:
  explicit CallsProbe(const CallsKind& kind) : ProbeOf(kind.place), kind_(kind) {}

  static Result<std::unique_ptr<Probe>> attach(const CallsKind& kind, const ProbeSetup& setup) {
    auto probe = std::make_unique<CallsProbe>(kind);
    if (auto opened = probe->bpf_.open(field_name(kind.place), roles_of(kind), setup); !opened)
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

 protected:
  [[nodiscard]] Result<probed::Calls> record_of(Span span) const override {
    const CallsCounts counted = span == Span::window ? edges_.window() : count();
    const calls_counts& counts = counted.calls;
    probed::Calls record{{bpf_.hooks()}};
    record.completed_ios = counted.completed_ios;
    record.totals = {.lost_events = counts.lost_events, .missed_runs = counted.missed_runs};
    for (unsigned at = 0; at < kind_.calls.size(); ++at)
      if (const auto member = kind_.calls[at].count;
          member != nullptr && bpf_.hooks().has(kind_.calls[at].name()))
        record.*member = counts.calls[counter(at)];
    if (record.releases) record.releases_off_task = counts.calls[CALLS_RELEASED_OFF_TASK];
    if (record.register_commands)
      record.unregister_commands = counts.calls[CALLS_UNREGISTER_COMMANDS];
    if (record.registrations) record.failed_registrations = counts.calls[CALLS_NOT_REGISTERED];
    if (record.shmem_lookups) {
      record.shmem_hits = counts.calls[CALLS_SHMEM_HITS];
      record.shmem_misses = *record.shmem_lookups - *record.shmem_hits;
    }
    if (kind_.buffers) add_buffers(record);
    if (kind_.queues) {
      record.in_flight = in_flight_->record();
      record.fifo_tags_events = log2_events(counts.fifo_tags);
      record.fetch_commands_events = log2_events(counts.fetch_commands);
    }
    return record;
  }

  [[nodiscard]] std::string text_of(const probed::Calls& record) const override {
    std::string text = lines(record);
    if (!kind_.queues) return text;
    for (const Fill& fill : fills)
      if (const auto& events = record.*fill.events; events && !events->empty())
        text += formatted("\n{}\n{}", fill.meaning, log2_histogram(fill.name, *events));
    return text + InFlightSeries::text(*record.in_flight);
  }

  [[nodiscard]] std::string brief_of(const probed::Calls& record) const override {
    if (!kind_.queues) return lines(record);
    std::string histograms;
    for (const Fill& fill : fills)
      if (const auto& events = record.*fill.events)
        histograms += histogram_line(fill.name, *events, Values::numbers_log2);
    histograms += InFlightSeries::brief(*record.in_flight);
    return lines(record) + (histograms.empty() ? "" : histogram_titles() + histograms);
  }

 private:
  [[nodiscard]] CallsCounts count() const {
    return {.calls = bpf_->bss->counts,
            .completed_ios = completed_ios_->look(),
            .missed_runs = bpf_.missed_runs()};
  }

  struct Fill {
    std::optional<SizeEvents> probed::Calls::* events;
    const char* name;
    const char* meaning;
  };
  static constexpr Fill fills[] = {{&probed::Calls::fifo_tags_events, "fifo_tags",
                                    "tags in a batch queue when a fetch command takes from it"},
                                   {&probed::Calls::fetch_commands_events, "fetch_commands",
                                    "FETCH_IO_CMDS that the queue has then"}};

  [[nodiscard]] std::string lines(const probed::Calls& record) const {
    std::string text = formatted("{:>12} I/Os completed\n", record.completed_ios);
    for (const Call& call : kind_.calls)
      if (call.count != nullptr && record.*call.count)
        text += formatted("{:>12} {}: {}\n", *(record.*call.count), call.name(), call.meaning);
    if (record.releases_off_task)
      text += formatted("{:>12} releases_off_task: of these outside of the server's tasks\n",
                        *record.releases_off_task);
    if (record.unregister_commands)
      text +=
          formatted("{:>12} unregister_commands: UNREGISTER_IO_BUF\n", *record.unregister_commands);
    if (record.failed_registrations)
      text += formatted("{:>12} failed_registrations: of buffers\n", *record.failed_registrations);
    if (record.shmem_hits)
      text += formatted("{:>12} shmem_hits, {} shmem_misses: of these look-ups\n",
                        *record.shmem_hits, *record.shmem_misses);
    text += trouble_text<probed::Missed>(record.totals, troubles);
    // Since the probe was attached, also in a window: a longest one has no difference.
    if (kind_.buffers)
      text += buffer_lines(*record.held_now, "held now, for") +
              buffer_lines(*record.held_longest,
                           "longest held and released since the probe was attached, for");
    const std::uint64_t waits = record.tag_waits.value_or(0);
    if (record.completed_ios != 0 && waits * 20 > record.completed_ios)
      text += formatted(
          "tag-starved: a client waited for a tag {:.2f} times an I/O; a deeper queue (-d) or more "
          "queues (-q) would let more I/Os in\n",
          static_cast<double>(waits) / static_cast<double>(record.completed_ios));
    return text;
  }

  static constexpr std::size_t most_buffers = 10;

  /// The tags whose buffers are held now and were held the longest, longest first.
  void add_buffers(probed::Calls& record) const {
    std::vector<probed::HeldBuffer> now;
    std::vector<probed::HeldBuffer> longest;
    const std::uint64_t at_ns = now_ns();
    calls_tag tag{};
    const void* previous = nullptr;
    while (bpf_map__get_next_key(bpf_->maps.buffers, previous, &tag, sizeof(tag)) == 0) {
      previous = &tag;
      calls_buffer buffer{};
      if (bpf_map__lookup_elem(bpf_->maps.buffers, &tag, sizeof(tag), &buffer, sizeof(buffer), 0) !=
          0)
        continue;
      probed::HeldBuffer held{.device = tag.device, .queue = tag.queue, .tag = tag.tag};
      held.held_ns = at_ns - std::min<std::uint64_t>(at_ns, buffer.since_ns);
      if (buffer.held != 0) now.push_back(held);
      held.held_ns = buffer.longest_ns;
      if (buffer.longest_ns != 0) longest.push_back(held);
    }
    record.buffers_held_now = now.size();
    record.held_now = longest_of(std::move(now));
    record.held_longest = longest_of(std::move(longest));
  }

  static std::vector<probed::HeldBuffer> longest_of(std::vector<probed::HeldBuffer> buffers) {
    std::ranges::sort(buffers, std::ranges::greater(), &probed::HeldBuffer::held_ns);
    buffers.resize(std::min(buffers.size(), most_buffers));
    return buffers;
  }

  static std::string buffer_lines(const std::vector<probed::HeldBuffer>& buffers,
                                  const char* what) {
    std::string text;
    for (const probed::HeldBuffer& held : buffers)
      text += formatted("buffer of device {} queue {} tag {} {} {}\n", held.device, held.queue,
                        held.tag, what, format_ns(static_cast<double>(held.held_ns)));
    return text;
  }

  [[nodiscard]] unsigned counter(unsigned at) const {
    return kind_.calls[at].fixed >= 0 ? static_cast<unsigned>(kind_.calls[at].fixed) : at;
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

// SPDX-License-Identifier: MIT
// What ublk-probe writes: what each probe attached to, what it counted, of which devices and when.
// docs/probes.md says what the figures mean.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "bench/record/distribution.hpp"
#include "bench/record/fields.hpp"
#include "bench/record/server_usage.hpp"
#include "bench/record/tool_identity.hpp"

namespace ublkbench::probed {

/// What tells a probe of one thing.
struct UsedHooks {
  std::string role;
  std::vector<std::string> hooks;     ///< functions and tracepoints
  std::optional<std::string> remark;  ///< what is not seen this way, or what it costs

  static constexpr auto fields() {
    using U = UsedHooks;
    return std::tuple(required("for", &U::role), required("hooks", &U::hooks),
                      field("remark", &U::remark));
  }
};

/// A thing that this kernel has nothing to attach to for.
struct MissingHooks {
  std::string role;
  std::string consequence;

  static constexpr auto fields() {
    using M = MissingHooks;
    return std::tuple(required("for", &M::role), required("consequence", &M::consequence));
  }
};

struct Attachment {
  std::vector<UsedHooks> used;
  std::vector<MissingHooks> unavailable;

  static constexpr auto fields() {
    return std::tuple(field("used", &Attachment::used),
                      field("unavailable", &Attachment::unavailable));
  }
};

struct TaskName {
  std::uint64_t tid = 0;
  std::string name;  ///< at most 15 bytes (TASK_COMM_LEN)

  static constexpr auto fields() {
    return std::tuple(required("tid", &TaskName::tid), required("name", &TaskName::name));
  }
};

/// What every probe may have missed.
struct Missed {
  std::uint64_t lost_events = 0;  ///< no room for them
  std::uint64_t missed_runs = 0;  ///< the program was just running on that CPU

  static constexpr auto fields() {
    return std::tuple(field("lost_events", &Missed::lost_events),
                      field("missed_runs", &Missed::missed_runs));
  }
};

/// One histogram's events of one task and queue.
struct BatchPart : EventSizes {
  std::string histogram;
  std::uint64_t device = 0;
  std::optional<std::uint64_t> queue;
  TaskName task;

  static constexpr auto fields() {
    using P = BatchPart;
    return std::tuple_cat(
        EventSizes::fields(),
        std::tuple(required("histogram", &P::histogram), required("device", &P::device),
                   nullable("queue", &P::queue), required("task", &P::task)));
  }
};

struct BatchTotals : Missed {
  std::uint64_t fetched_ios = 0;
  std::uint64_t committed_ios = 0;
  std::uint64_t sqpoll_ios = 0;
  std::uint64_t resubmitted_sqes = 0;
  std::uint64_t unread_sqes = 0;
  std::uint64_t aborted_ios = 0;
  std::uint64_t requeued_ios = 0;

  static constexpr auto fields() {
    using T = BatchTotals;
    return std::tuple_cat(
        Missed::fields(),
        std::tuple(field("fetched_ios", &T::fetched_ios), field("committed_ios", &T::committed_ios),
                   field("sqpoll_ios", &T::sqpoll_ios),
                   field("resubmitted_sqes", &T::resubmitted_sqes),
                   field("unread_sqes", &T::unread_sqes), field("aborted_ios", &T::aborted_ios),
                   field("requeued_ios", &T::requeued_ios)));
  }
};

/// A histogram without events is left out.
struct Batch : Attachment {
  std::optional<EventSizes> fetch_batch;
  std::optional<EventSizes> commit_batch;
  std::optional<EventSizes> server_sqes;
  std::optional<EventSizes> server_cqes;
  std::optional<EventSizes> client_sqes;
  std::optional<EventSizes> client_cqes;
  std::optional<EventSizes> queued_requests;
  std::vector<BatchPart> parts;
  BatchTotals totals;

  static constexpr auto fields() {
    using B = Batch;
    return std::tuple_cat(
        Attachment::fields(),
        std::tuple(field("fetch_batch", &B::fetch_batch), field("commit_batch", &B::commit_batch),
                   field("server_sqes", &B::server_sqes), field("server_cqes", &B::server_cqes),
                   field("client_sqes", &B::client_sqes), field("client_cqes", &B::client_cqes),
                   field("queued_requests", &B::queued_requests), field("parts", &B::parts),
                   field("totals", &B::totals)));
  }
};

/// Of a request, in order; they add up to the last.
enum class Stage : std::uint8_t { dispatch, wake, server, target, commit, complete, total };
inline constexpr std::size_t stages = 7;

struct StageTimes {
  Distribution dispatch;
  Distribution wake;
  Distribution server;
  Distribution target;
  Distribution commit;
  Distribution complete;
  Distribution total;

  static constexpr auto fields() {
    using T = StageTimes;
    return std::tuple(required("dispatch", &T::dispatch), required("wake", &T::wake),
                      required("server", &T::server), required("target", &T::target),
                      required("commit", &T::commit), required("complete", &T::complete),
                      required("total", &T::total));
  }

  static constexpr std::array<Distribution StageTimes::*, stages> members() {
    return std::apply([](const auto&... each) { return std::array{each.member...}; }, fields());
  }
  [[nodiscard]] const Distribution& of(Stage stage) const {
    return this->*members()[static_cast<std::size_t>(stage)];
  }
};

constexpr std::array<std::string_view, stages> names_of(Stage /*type*/) {
  return std::apply([](const auto&... each) { return std::array{each.name...}; },
                    StageTimes::fields());
}

/// Requests of one operation and size: "8k" is above 4k and up to 8k.
struct SizeLatency {
  std::string op;
  std::string size;
  std::uint64_t ios = 0;
  StageTimes stages_ns;

  static constexpr auto fields() {
    using L = SizeLatency;
    return std::tuple(required("op", &L::op), required("size", &L::size), required("ios", &L::ios),
                      required("stages_ns", &L::stages_ns));
  }
};

struct QueueLatency {
  std::uint64_t queue = 0;
  std::uint64_t ios = 0;
  StageTimes stages_ns;

  static constexpr auto fields() {
    using L = QueueLatency;
    return std::tuple(required("queue", &L::queue), required("ios", &L::ios),
                      required("stages_ns", &L::stages_ns));
  }
};

struct LatencyTotals {
  std::uint64_t requests = 0;  ///< of which `begun_ios` are followed
  std::uint64_t begun_ios = 0;
  std::uint64_t finished_ios = 0;
  std::optional<std::uint64_t> in_flight_ios;         ///< when the probe ended
  std::optional<std::uint64_t> in_flight_at_end_ios;  ///< of a window: as ever
  std::uint64_t lost_ios = 0;
  std::uint64_t uncommitted_ios = 0;
  std::uint64_t requeued_ios = 0;
  std::uint64_t unseen_return_ios = 0;
  std::uint64_t untracked_ios = 0;
  std::uint64_t unsplit_ios = 0;
  std::uint64_t unread_sqes = 0;
  std::uint64_t missed_runs = 0;

  static constexpr auto fields() {
    using T = LatencyTotals;
    return std::tuple(
        field("requests", &T::requests), field("begun_ios", &T::begun_ios),
        field("finished_ios", &T::finished_ios), field("in_flight_ios", &T::in_flight_ios),
        field("in_flight_at_end_ios", &T::in_flight_at_end_ios), field("lost_ios", &T::lost_ios),
        field("uncommitted_ios", &T::uncommitted_ios), field("requeued_ios", &T::requeued_ios),
        field("unseen_return_ios", &T::unseen_return_ios),
        field("untracked_ios", &T::untracked_ios), field("unsplit_ios", &T::unsplit_ios),
        field("unread_sqes", &T::unread_sqes), field("missed_runs", &T::missed_runs));
  }
};

struct Latency : Attachment {
  std::uint64_t sample = 1;             ///< every so manieth request is followed
  std::optional<StageTimes> stages_ns;  ///< of all
  std::map<std::string, StageTimes> ops_ns;
  std::vector<SizeLatency> sizes;
  std::vector<QueueLatency> queues;
  LatencyTotals totals;

  static constexpr auto fields() {
    using L = Latency;
    return std::tuple_cat(Attachment::fields(),
                          std::tuple(field("sample", &L::sample), field("stages_ns", &L::stages_ns),
                                     field("ops_ns", &L::ops_ns), field("sizes", &L::sizes),
                                     field("queues", &L::queues), field("totals", &L::totals)));
  }
};

struct HeldBuffer {
  std::uint64_t device = 0;
  std::uint64_t queue = 0;
  std::uint64_t tag = 0;
  std::uint64_t held_ns = 0;

  static constexpr auto fields() {
    using H = HeldBuffer;
    return std::tuple(required("device", &H::device), required("queue", &H::queue),
                      required("tag", &H::tag), required("held_ns", &H::held_ns));
  }
};

/// Tags in flight in an interval of InFlight::interval_ns.
struct InFlightInterval {
  std::uint64_t at_ns = 0;
  std::uint64_t min = 0;
  double mean = 0;
  std::uint64_t max = 0;

  static constexpr auto fields() {
    using I = InFlightInterval;
    return std::tuple(required("at_ns", &I::at_ns), required("min", &I::min),
                      required("mean", &I::mean), required("max", &I::max));
  }
};

/// Tags of a device in flight, by the block layer's count.
struct InFlight {
  std::uint64_t device = 0;
  std::uint64_t looks = 0;
  double mean = 0;
  SizeEvents tags_looks;  ///< how often each number was seen
  std::uint64_t interval_ns = 0;
  std::vector<InFlightInterval> series;  ///< without those that nobody looked in

  static constexpr auto fields() {
    using I = InFlight;
    return std::tuple(required("device", &I::device), required("looks", &I::looks),
                      required("mean", &I::mean), required("tags_looks", &I::tags_looks),
                      required("interval_ns", &I::interval_ns), required("series", &I::series));
  }
};

/// Of the probes tags, zc and errors. A count that is not the probe's, or that the kernel has no
/// function for, is left out.
struct Calls : Attachment {
  std::uint64_t completed_ios = 0;
  Missed totals;
  // tags
  std::optional<std::uint64_t> tag_waits;
  std::optional<std::vector<InFlight>> in_flight;
  std::optional<SizeEvents> fifo_tags_events;
  std::optional<SizeEvents> fetch_commands_events;
  // zc
  std::optional<std::uint64_t> registrations;
  std::optional<std::uint64_t> failed_registrations;
  std::optional<std::uint64_t> register_commands;
  std::optional<std::uint64_t> unregister_commands;
  std::optional<std::uint64_t> releases;
  std::optional<std::uint64_t> releases_off_task;
  std::optional<std::uint64_t> shmem_lookups;
  std::optional<std::uint64_t> shmem_hits;
  std::optional<std::uint64_t> shmem_misses;
  std::optional<std::uint64_t> buffers_held_now;
  std::optional<std::vector<HeldBuffer>> held_now;      ///< longest first, ten at most
  std::optional<std::vector<HeldBuffer>> held_longest;  ///< since the probe was attached
  // errors
  std::optional<std::uint64_t> failed_requests;
  std::optional<std::uint64_t> requeued_requests;
  std::optional<std::uint64_t> timeouts;
  std::optional<std::uint64_t> failed_by_driver;
  std::optional<std::uint64_t> cancelled_commands;
  std::optional<std::uint64_t> cancelled_fetches;
  std::optional<std::uint64_t> fetches_without_room;

  static constexpr auto fields() {
    using C = Calls;
    return std::tuple_cat(
        Attachment::fields(),
        std::tuple(
            required("completed_ios", &C::completed_ios), field("totals", &C::totals),
            field("tag_waits", &C::tag_waits), field("in_flight", &C::in_flight),
            field("fifo_tags_events", &C::fifo_tags_events),
            field("fetch_commands_events", &C::fetch_commands_events),
            field("registrations", &C::registrations),
            field("failed_registrations", &C::failed_registrations),
            field("register_commands", &C::register_commands),
            field("unregister_commands", &C::unregister_commands), field("releases", &C::releases),
            field("releases_off_task", &C::releases_off_task),
            field("shmem_lookups", &C::shmem_lookups), field("shmem_hits", &C::shmem_hits),
            field("shmem_misses", &C::shmem_misses),
            field("buffers_held_now", &C::buffers_held_now), field("held_now", &C::held_now),
            field("held_longest", &C::held_longest), field("failed_requests", &C::failed_requests),
            field("requeued_requests", &C::requeued_requests), field("timeouts", &C::timeouts),
            field("failed_by_driver", &C::failed_by_driver),
            field("cancelled_commands", &C::cancelled_commands),
            field("cancelled_fetches", &C::cancelled_fetches),
            field("fetches_without_room", &C::fetches_without_room)));
  }
};

enum class Role : std::uint8_t { client, server };
constexpr std::array<std::string_view, 2> names_of(Role /*type*/) { return {"client", "server"}; }

struct SyscallsTask {
  TaskName task;
  Role role = Role::client;
  std::uint64_t enters = 0;
  std::uint64_t commands = 0;
  std::uint64_t command_ns = 0;
  std::uint64_t security_calls = 0;
  std::uint64_t security_ns = 0;

  static constexpr auto fields() {
    using T = SyscallsTask;
    return std::tuple(
        required("task", &T::task), required("role", &T::role), required("enters", &T::enters),
        required("commands", &T::commands), required("command_ns", &T::command_ns),
        required("security_calls", &T::security_calls), required("security_ns", &T::security_ns));
  }
};

/// Times of io commands are left out where the kernel has nothing to take them with.
struct Syscalls : Attachment {
  std::uint64_t completed_ios = 0;
  std::uint64_t server_enters = 0;
  std::uint64_t client_enters = 0;
  std::vector<SyscallsTask> tasks;
  std::optional<std::uint64_t> commands;
  std::optional<std::uint64_t> command_ns;
  std::optional<SizeEvents> command_ns_events;  ///< the lowest of each power of two
  std::optional<std::uint64_t> security_calls;
  std::optional<std::uint64_t> security_ns;
  Missed totals;

  static constexpr auto fields() {
    using S = Syscalls;
    return std::tuple_cat(
        Attachment::fields(),
        std::tuple(required("completed_ios", &S::completed_ios),
                   required("server_enters", &S::server_enters),
                   required("client_enters", &S::client_enters), required("tasks", &S::tasks),
                   field("commands", &S::commands), field("command_ns", &S::command_ns),
                   field("command_ns_events", &S::command_ns_events),
                   field("security_calls", &S::security_calls),
                   field("security_ns", &S::security_ns), field("totals", &S::totals)));
  }
};

struct WakeupsTask {
  TaskName task;
  std::uint64_t sleeps = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t wakes = 0;
  std::uint64_t on_cpu_ns = 0;
  std::uint64_t delay_ns = 0;  ///< from wakes until it ran, in all
  SizeEvents delay_ns_events;  ///< the lowest of each power of two

  static constexpr auto fields() {
    using T = WakeupsTask;
    return std::tuple(field("task", &T::task), required("sleeps", &T::sleeps),
                      field("preemptions", &T::preemptions), field("wakes", &T::wakes),
                      required("on_cpu_ns", &T::on_cpu_ns), field("delay_ns", &T::delay_ns),
                      field("delay_ns_events", &T::delay_ns_events));
  }
};

struct Waker {
  TaskName task;      ///< that was woken
  std::string waker;  ///< the task that ran then, or "interrupt"
  std::uint64_t wakes = 0;

  static constexpr auto fields() {
    using W = Waker;
    return std::tuple(required("task", &W::task), required("waker", &W::waker),
                      required("wakes", &W::wakes));
  }
};

struct Wakeups : Attachment {
  std::uint64_t completed_ios = 0;
  std::optional<std::uint64_t> elapsed_ns;  ///< not in records from before windows were marked
  std::vector<WakeupsTask> tasks;
  std::vector<Waker> wakers;
  Missed totals;

  static constexpr auto fields() {
    using W = Wakeups;
    return std::tuple_cat(Attachment::fields(),
                          std::tuple(required("completed_ios", &W::completed_ios),
                                     field("elapsed_ns", &W::elapsed_ns), field("tasks", &W::tasks),
                                     field("wakers", &W::wakers), field("totals", &W::totals)));
  }
};

struct InterruptVector {
  std::uint64_t vector = 0;
  std::string name;
  std::uint64_t interrupts = 0;
  std::uint64_t completions = 0;
  SizeEvents size_events;  ///< completions per interrupt

  static constexpr auto fields() {
    using V = InterruptVector;
    return std::tuple(required("vector", &V::vector), required("name", &V::name),
                      required("interrupts", &V::interrupts),
                      required("completions", &V::completions),
                      required("size_events", &V::size_events));
  }
};

struct InterruptTotals : Missed {
  std::uint64_t completions_elsewhere = 0;

  static constexpr auto fields() {
    return std::tuple_cat(
        Missed::fields(),
        std::tuple(field("completions_elsewhere", &InterruptTotals::completions_elsewhere)));
  }
};

struct Interrupts : Attachment {
  std::vector<InterruptVector> vectors;
  InterruptTotals totals;

  static constexpr auto fields() {
    return std::tuple_cat(Attachment::fields(),
                          std::tuple(required("vectors", &Interrupts::vectors),
                                     field("totals", &Interrupts::totals)));
  }
};

/// By probe; of those that were attached.
struct Records {
  std::optional<Batch> batch;
  std::optional<Latency> latency;
  std::optional<Wakeups> wakeups;
  std::optional<Syscalls> syscalls;
  std::optional<Interrupts> interrupts;
  std::optional<Calls> tags;
  std::optional<Calls> zc;
  std::optional<Calls> errors;

  static constexpr auto fields() {
    using R = Records;
    return std::tuple(field("batch", &R::batch), field("latency", &R::latency),
                      field("wakeups", &R::wakeups), field("syscalls", &R::syscalls),
                      field("interrupts", &R::interrupts), field("tags", &R::tags),
                      field("zc", &R::zc), field("errors", &R::errors));
  }
};

struct Device {
  int id = 0;
  std::uint64_t queues = 0;
  std::uint64_t depth = 0;  ///< of one queue
  std::vector<std::string> flags;
  int server_pid = 0;  ///< 0: not known

  static constexpr auto fields() {
    using D = Device;
    return std::tuple(field("id", &D::id), field("queues", &D::queues), field("depth", &D::depth),
                      field("flags", &D::flags), field("server_pid", &D::server_pid));
  }
};

struct Subject {
  bool all = false;
  std::vector<Device> devices;  ///< with all: those that were there at the start

  static constexpr auto fields() {
    return std::tuple(field("all", &Subject::all), field("devices", &Subject::devices));
  }
};

enum class Ending : std::uint8_t { running, duration, interrupted, device_removed };
constexpr std::array<std::string_view, 4> names_of(Ending /*type*/) {
  return {"running", "duration", "interrupted", "device removed"};
}

struct Document {
  std::string schema = "ublkbench.probe/1";
  ToolIdentity tool = {};
  std::string kernel = {};
  Subject subject = {};
  std::uint64_t attached_ns = 0;
  Ending ending = Ending::running;
  std::optional<std::uint64_t> window_ns = {};  ///< `probes` is then of the window
  Records probes = {};
  std::optional<Records> attached = {};  ///< with a window: sums and sizes of all the time
  std::optional<std::string> text = {};  ///< for people, with all histograms
  std::optional<std::string> brief = {};

  static constexpr auto fields() {
    using D = Document;
    return std::tuple(
        field("schema", &D::schema), field("tool", &D::tool), field("kernel", &D::kernel),
        field("subject", &D::subject), field("attached_ns", &D::attached_ns),
        field("ending", &D::ending), field("window_ns", &D::window_ns), field("probes", &D::probes),
        field("attached", &D::attached), field("text", &D::text), field("brief", &D::brief));
  }
};

}  // namespace ublkbench::probed

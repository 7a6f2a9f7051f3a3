// SPDX-License-Identifier: MIT
// A sample as the record of a run has it: see schema/run.schema.json.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/record/cpu_quota.hpp"
#include "bench/record/fields.hpp"
#include "bench/record/load_report.hpp"
#include "bench/record/probe_document.hpp"
#include "bench/record/server_usage.hpp"

namespace ublkbench {

enum class SampleStatus : std::uint8_t { ok, failed, interrupted };
constexpr auto names_of(SampleStatus /*type*/) {
  return std::array<std::string_view, 3>{"ok", "failed", "interrupted"};
}

/// What queue/scheduler says of a device; nothing where it has none to choose (it works on bios).
using SchedulerName = std::optional<std::string>;

struct SchedulerChoice {
  std::string asked;
  SchedulerName found;  ///< before
  SchedulerName in_force;
  /// Why what is in force is not `none`, though that was asked for.
  std::optional<std::string> why_not = {};

  static constexpr auto fields() {
    using C = SchedulerChoice;
    return std::tuple(field("asked", &C::asked), nullable("found", &C::found),
                      nullable("in_force", &C::in_force), field("why_not", &C::why_not));
  }
};

/// The process that has /dev/ublkcN open.
struct ForeignServer {
  int pid = -1;
  std::string name;          ///< as in /proc/PID/comm
  std::vector<int> devices;  ///< all ublk devices that it serves, by number

  static constexpr auto fields() {
    using S = ForeignServer;
    return std::tuple(field("pid", &S::pid), field("name", &S::name),
                      field("devices", &S::devices));
  }
};

/// The device that was measured; what it does not have, or what cannot be told, is empty.
struct MeasuredDevice {
  std::optional<std::string> path = {};
  std::optional<unsigned> id = {};
  std::optional<unsigned> queues = {};  ///< hardware queues
  std::optional<unsigned> depth = {};
  std::optional<unsigned> daemons = {};
  std::optional<std::uint64_t> max_io_bytes = {};
  std::optional<std::string> state = {};
  std::optional<std::vector<std::string>> flags_requested = {};
  std::optional<std::vector<std::string>> flags_granted = {};
  std::optional<ForeignServer> server = {};
  RawJson queue_limits = {};  ///< see block_queue.hpp
  std::optional<SchedulerChoice> scheduler = {};

  static constexpr auto fields() {
    using D = MeasuredDevice;
    return std::tuple(field("path", &D::path), field("id", &D::id), field("queues", &D::queues),
                      field("depth", &D::depth), field("daemons", &D::daemons),
                      field("max_io_bytes", &D::max_io_bytes), field("state", &D::state),
                      field("flags_requested", &D::flags_requested),
                      field("flags_granted", &D::flags_granted), field("server", &D::server),
                      field("queue_limits", &D::queue_limits), field("scheduler", &D::scheduler));
  }
};

/// What ublk-dump said of a sample that hung.
struct HangDump {
  enum class Status : std::uint8_t { taken, none };
  Status status = Status::none;
  std::optional<std::string> reason = {};     ///< of none
  std::optional<std::string> verdict = {};    ///< of one that was taken, as the others
  std::optional<std::string> recording = {};  ///< the file, for --replay
  RawJson dump = {};                          ///< what --json prints

  static constexpr auto fields() {
    using D = HangDump;
    return std::tuple(required("status", &D::status), field("reason", &D::reason),
                      field("verdict", &D::verdict), nullable("recording", &D::recording),
                      field("dump", &D::dump));
  }
};
constexpr auto names_of(HangDump::Status /*type*/) {
  return std::array<std::string_view, 2>{"taken", "none"};
}

/// Does the device keep what it is given?
struct Verification {
  enum class Status : std::uint8_t { passed, failed, interrupted };
  /// Of a target that stores nothing only completions can be checked.
  enum class Checked : std::uint8_t { contents, completions };
  Status status = Status::failed;
  std::optional<Checked> checked = {};
  RawJson report = {};  ///< see bench/load/verify.hpp
  std::optional<std::string> reason = {};
  std::optional<int> exit = {};  ///< an ExitCode, unless it passed

  static constexpr auto fields() {
    using V = Verification;
    return std::tuple(required("status", &V::status), field("checked", &V::checked),
                      field("report", &V::report), field("reason", &V::reason),
                      field("exit", &V::exit));
  }
};
constexpr auto names_of(Verification::Status /*type*/) {
  return std::array<std::string_view, 3>{"passed", "failed", "interrupted"};
}
constexpr auto names_of(Verification::Checked /*type*/) {
  return std::array<std::string_view, 2>{"contents", "completions"};
}
/// Before the load: how much of the target's files was ever written.
struct WrittenData {
  std::uint64_t written_bytes = 0;
  std::uint64_t bytes = 0;
  bool in_memory = false;

  static constexpr auto fields() {
    using W = WrittenData;
    return std::tuple(required("written_bytes", &W::written_bytes), required("bytes", &W::bytes),
                      field("in_memory", &W::in_memory));
  }
};

/// Of a load without O_DIRECT.
struct PageCacheUse {
  enum class Start : std::uint8_t { empty, as_found };
  Start start = Start::as_found;
  std::uint64_t load_read_bytes = 0;                    ///< in the window
  std::optional<std::uint64_t> device_read_bytes = {};  ///< of them

  static constexpr auto fields() {
    using U = PageCacheUse;
    return std::tuple(required("start", &U::start), field("load_read_bytes", &U::load_read_bytes),
                      nullable("device_read_bytes", &U::device_read_bytes));
  }
};
constexpr auto names_of(PageCacheUse::Start /*type*/) {
  return std::array<std::string_view, 2>{"empty", "as found"};
}

/// The block layer's own statistics of the device in the measured window.
struct BlockUse {
  std::uint64_t completed_ios = 0;
  double in_flight_mean = 0;

  static constexpr auto fields() {
    return std::tuple(field("completed_ios", &BlockUse::completed_ios),
                      field("in_flight_mean", &BlockUse::in_flight_mean));
  }
};

/// What the scheduler gave the control groups of server and load in the measured window, where they
/// have a quota.
struct QuotaUse {
  std::optional<CpuQuota> server;
  std::optional<CpuQuota> load;

  static constexpr auto fields() {
    return std::tuple(nullable("server", &QuotaUse::server), nullable("load", &QuotaUse::load));
  }
};

struct ProbeRecord {
  probed::Document record;            ///< what ublk-probe wrote, but for its texts
  std::optional<std::string> text;    ///< the same for people
  std::optional<std::string> brief;   ///< with a line a histogram
  std::optional<ServerUsage> server;  ///< while they were attached; of a server of ours

  static constexpr auto fields() {
    using P = ProbeRecord;
    return std::tuple(required("record", &P::record), field("text", &P::text),
                      field("brief", &P::brief), nullable("server", &P::server));
  }
};

/// CPU time and instructions per measured I/O, by side.
struct PerIo {
  std::optional<double> load_cpu_ns = {};
  std::optional<double> server_cpu_ns = {};
  std::optional<double> load_instructions = {};
  std::optional<double> server_instructions = {};
  std::optional<double> total_instructions = {};  ///< of the whole guest, under -icount

  static constexpr auto fields() {
    using P = PerIo;
    return std::tuple(field("load_cpu_ns", &P::load_cpu_ns),
                      field("server_cpu_ns", &P::server_cpu_ns),
                      field("load_instructions", &P::load_instructions),
                      field("server_instructions", &P::server_instructions),
                      field("total_instructions", &P::total_instructions));
  }
};

struct SampleRecord {
  std::string cell;
  std::uint64_t round = 0;
  std::uint64_t order = 0;  ///< in which it was taken
  SampleStatus status = SampleStatus::ok;
  std::optional<std::string> reason = {};  ///< unless it is ok
  std::uint64_t elapsed_ns = 0;            ///< all of it, with the device's and server's making
  std::optional<MeasuredDevice> device = {};
  std::optional<HangDump> hang_dump = {};
  std::optional<Verification> verify = {};
  std::optional<WrittenData> data = {};
  std::optional<PageCacheUse> page_cache = {};
  std::optional<std::string> not_verified = {};  ///< why, and that it will not be in this cell
  std::optional<LoadReport> load = {};
  std::optional<ServerUsage> server = {};           ///< of ours, in the measured window
  std::optional<ProcessUsage> server_process = {};  ///< of somebody else's
  std::optional<BlockUse> block = {};
  std::optional<QuotaUse> cpu_quota = {};
  std::optional<ProbeRecord> probe = {};
  std::optional<PerIo> per_io = {};

  static constexpr auto fields() {
    using S = SampleRecord;
    return std::tuple(
        required("cell", &S::cell), required("round", &S::round), required("order", &S::order),
        required("status", &S::status), field("reason", &S::reason),
        required("elapsed_ns", &S::elapsed_ns), field("device", &S::device),
        field("hang_dump", &S::hang_dump), field("verify", &S::verify), field("data", &S::data),
        field("page_cache", &S::page_cache), field("not_verified", &S::not_verified),
        field("load", &S::load), nullable("server", &S::server),
        field("server_process", &S::server_process), nullable("block", &S::block),
        field("cpu_quota", &S::cpu_quota), field("probe", &S::probe), field("per_io", &S::per_io));
  }
};

}  // namespace ublkbench

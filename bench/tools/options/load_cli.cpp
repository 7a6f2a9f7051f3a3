// SPDX-License-Identifier: MIT
#include "bench/tools/options/load_cli.hpp"

#include "bench/base/cpus.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/words.hpp"

namespace ublkbench {
namespace {

constexpr const char* group = "Load";

/// Of an option that may not be 0; nothing changes where it was not typed.
template <class Parse>
Result<> more_than_none(const std::string& option, const std::string& text, Parse&& parse,
                        const char* hint, std::uint64_t& into) {
  const auto value = parse(text);
  if (!value) return std::unexpected(value.error());
  if (*value == 0) return bad_input(option + " 0", hint);
  into = *value;
  return {};
}

}  // namespace

void LoadCli::add_options(CLI::App& app, load::LoadOptions& load, const std::string& work,
                          const std::string& destructive) {
  app_ = &app;
  add_work(app, work);
  app.add_option("--jobs", load.jobs, "Load threads, each with a ring of its own")
      ->capture_default_str()
      ->group(group);
  app.add_option("--rwmixread", load.rw_mix_read_percent, "Percent of reads in rw, randrw")
      ->capture_default_str()
      ->group(group);
  app.add_option("--submit-batch", load.submit_batch,
                 "New I/Os per io_uring_enter() at most (default: qd/4, at least 1)")
      ->group(group);
  app.add_option("--complete-batch", load.complete_batch,
                 "Completions that an enter waits for (default: qd/4, at least 1)")
      ->group(group);
  app.add_option("--load-cpus,--cpus", cpus_,
                 "CPUs of the load threads, for instance 0-3: job i gets the i-th")
      ->type_name("CPUS")
      ->group(group);
  add_io_path(app, load);
  app.add_flag("--destructive", load.destructive, destructive)->group(group);
  app.add_option("--hang-timeout", hang_timeout_, "No completion for so long is a hang")
      ->type_name("TIME")
      ->capture_default_str()
      ->group(group);
}

void LoadCli::add_work(CLI::App& app, const std::string& work) {
  app.add_option("--ios", ios_, "Measure this many I/Os, of all jobs")
      ->type_name("N")
      ->group(group);
  app.add_option("--runtime", runtime_, formatted("Measure for so long (default: {})", work))
      ->type_name("TIME")
      ->group(group);
  app.add_option("--warmup", warmup_,
                 "Before measuring: I/Os with --ios (default: 4 * qd * jobs, at least 2000), time "
                 "with --runtime (default: 500ms)")
      ->type_name("N|TIME")
      ->group(group);
  app.add_option("--rate", rate_,
                 "I/Os per second of all jobs, at constant intervals: an open loop, whose latency "
                 "counts from the instant at which an I/O was due (default: closed loop)")
      ->type_name("N")
      ->group(group);
}

void LoadCli::add_io_path(CLI::App& app, load::LoadOptions& load) {
  app.add_flag("--hipri", load.hipri, "Poll for completions; needs a device with poll queues")
      ->group(group);
  app.add_flag("--fixed-bufs,!--no-fixed-bufs", load.fixed_buffers, "Registered buffers (default)")
      ->group(group);
  app.add_flag("--registered-file,!--no-registered-file", load.registered_file,
               "Registered file (default)")
      ->group(group);
  app.add_flag("--direct,!--buffered", load.direct, "O_DIRECT (default)")->group(group);
  app.add_flag("--latency,!--no-latency", load.record_latency,
               "Record latency (default); without it no clock is read on the hot path")
      ->group(group);
  app.add_flag("--allow-split", load.allow_split,
               "Allow I/Os that are larger than the device takes in one request")
      ->group(group);
}

Result<> LoadCli::finish(load::LoadOptions& load, std::uint64_t default_ios) const {
  if (typed(*app_, "--ios") && typed(*app_, "--runtime"))
    return bad_input("--ios and --runtime exclude each other", "fixed work or fixed time");
  if (typed(*app_, "--ios"))
    if (auto ios =
            more_than_none("--ios", ios_, parse_count, "at least one I/O is needed", load.ios);
        !ios)
      return ios;
  if (typed(*app_, "--runtime"))
    if (auto time = more_than_none("--runtime", runtime_, parse_duration_ns, "some time is needed",
                                   load.runtime_ns);
        !time)
      return time;
  if (load.ios == 0 && load.runtime_ns == 0) load.ios = default_ios;
  if (typed(*app_, "--warmup")) {
    const auto warmup = load.ios != 0 ? parse_count(warmup_) : parse_duration_ns(warmup_);
    if (!warmup)
      return bad_input(formatted("--warmup: {}", warmup.error().operation),
                       load.ios != 0 ? "with --ios it is a number of I/Os"
                                     : "without --ios it is a time, such as 500ms");
    (load.ios != 0 ? load.warmup_ios : load.warmup_ns) = *warmup;
  }
  if (typed(*app_, "--rate"))
    if (auto rate = more_than_none("--rate", rate_, parse_count, "leave it out for a closed loop",
                                   load.rate_iops);
        !rate)
      return rate;
  if (typed(*app_, "--load-cpus")) {
    auto cpus = parse_cpu_list(cpus_);
    if (!cpus) return std::unexpected(cpus.error());
    if (auto can = check_cpus(*cpus, "--load-cpus"); !can) return can;
    load.job_cpus = std::move(*cpus);
  }
  const auto hang = parse_duration_ns(hang_timeout_);
  if (!hang) return std::unexpected(hang.error());
  load.hang_timeout_ns = *hang;
  return {};
}

}  // namespace ublkbench

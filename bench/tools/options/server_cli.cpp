// SPDX-License-Identifier: MIT
#include "bench/tools/options/server_cli.hpp"

#include <map>
#include <string>

#include "bench/base/cpus.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/cli/words.hpp"
#include "bench/tools/options/device_cli.hpp"

namespace ublkbench {

void ServerCli::add_options(CLI::App& app, BareWord word) {
  app_ = &app;
  app.add_option("-m,--mode", mode_,
                 "Mode words joined by commas, such as batch,auto_zc ('ublkbench modes' lists all)")
      ->type_name("WORDS")
      ->capture_default_str();
  app.add_option("-t,--target", values_.target, target_help())
      ->type_name("TARGET")
      ->capture_default_str();
  if (word == BareWord::device)
    app.add_option("-n,--id,id", values_.id, "Device number")->type_name("ID");
  else
    app.add_option("-n,--id", values_.id, "Device number (default: the driver chooses)");
  app.add_option("-q,--queues", values_.queues, "Hardware queues")->capture_default_str();
  app.add_option("-d,--depth", values_.depth, "Depth of each queue, 1 to 4096")
      ->capture_default_str();
  app.add_option(
      "--daemons", values_.daemons,
      "Server threads (default: one per queue, with per_io_daemon two; more only with batch or "
      "per_io_daemon)");
  app.add_option("--devices", values_.devices,
                 "Devices of this kind, all served by one process: by one thread, or as many as "
                 "--daemons says. '%i' in the target's words is the number of the device, from 0")
      ->capture_default_str();
  app.add_option("--max-io", max_io_, "Largest I/O in bytes")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option("--server-cpus", cpus_,
                 "Where daemons run: 'queue' (CPUs that submit to their queue), 'free', or a list "
                 "such as 0-3,7")
      ->type_name("queue|free|CPUS")
      ->capture_default_str();
  app.add_flag("--auto-zc-fallback", values_.auto_zc_fallback,
               "auto_zc: register by hand where the driver could not");
  app.add_option("--force-fallback-every", values_.force_fallback_every,
                 "With --auto-zc-fallback: make registration fail for every N-th tag");
  app.add_flag("--rotate-buffers", values_.rotate_buffers,
               "auto_zc: another buffer index at each commit, to test the driver");
  add_waiting_options(app, values_);
  app.add_option(
         "--shared-memory", values_.shared_memory_file,
         "shmem_zc: the file on tmpfs or hugetlbfs that the client shares (default: a memfd, "
         "named by 'add --json')")
      ->type_name("FILE");
  app.add_option("--shared-memory-size", shared_memory_, "shmem_zc: its size")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_flag("--no-partition-scan", no_partition_scan_,
               "Do not look for partitions on the new disk (Linux 7.0)");
  app.add_flag("--shared-memory-read-only", values_.shared_memory_read_only,
               "shmem_zc: the server only reads it, so reads of the device are copied");
  add_device_options(app, values_.device);
  for (CLI::Option* const option : app.get_options()) {
    // Words that are parsed again may be followed by newer ones.
    option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    if (!option->get_lnames().empty() && option->get_lnames().front() != "help" &&
        option->get_lnames().front() != "id")
      remembered_.push_back(option);
  }
  app.add_flag("--die-while-fetching", values_.die_while_fetching,
               "For tests: the server process kills itself when half of its io commands are with "
               "the driver")
      ->group("");
}

std::vector<std::string> ServerCli::words() const {
  std::vector<std::string> words;
  for (const CLI::Option* option : remembered_) {
    if (option->count() == 0) continue;
    const std::string name = "--" + option->get_lnames().front();
    words.push_back(option->get_expected_min() == 0 ? name : name + '=' + option->results().back());
  }
  return words;
}

void add_waiting_options(CLI::App& app, ServeOptions& options, const std::string& group) {
  app.add_option("--spin-us", options.waiting.spin_us,
                 "Without work, look again for this long before sleeping")
      ->capture_default_str()
      ->group(group);
  app.add_option("--wait-count", options.waiting.count,
                 "Completions that a daemon waits for at once...")
      ->capture_default_str()
      ->group(group);
  app.add_option("--wait-us", options.waiting.wait_us, "...unless this time is over")
      ->capture_default_str()
      ->group(group);
  app.add_option("--wake-by", options.waiting.wake_by,
                 "offload: how the two tasks wake each other: eventfd or msg_ring")
      ->type_name("eventfd|msg_ring")
      ->transform(CLI::CheckedTransformer(std::map<std::string, WakeBy>{
          {"eventfd", WakeBy::eventfd}, {"msg_ring", WakeBy::msg_ring}}))
      ->group(group);
  app.add_option("--fetches", options.batch.fetches_per_queue,
                 "batch: fetch commands that a daemon keeps in the driver for each queue")
      ->capture_default_str()
      ->group(group);
  app.add_option("--fetch-tags", options.batch.fetch_tags,
                 "batch: tags that one buffer of a fetch command holds, 1 to 128")
      ->capture_default_str()
      ->group(group);
}

/// What says something of memory that is shared, of a fallback, of how two tasks wake each other,
/// and there is none of it.
Result<> ServerCli::check_words(const ServeOptions& options) const {
  if (auto full = refuse_empty(*app_); !full) return full;
  std::vector<Idle> rows =
      all_idle({"--shared-memory", "--shared-memory-size", "--shared-memory-read-only"},
               !options.mode.buffers().shared, "the mode is not shmem_zc");
  rows.push_back(
      {"--force-fallback-every", !options.auto_zc_fallback, "it is for --auto-zc-fallback"});
  rows.push_back({"--wake-by", !options.mode.places().worker, "the mode is not offload"});
  rows.push_back(
      {"--wait-us", options.waiting.count <= 1, "it bounds a --wait-count of 2 or more"});
  return refuse_idle(*app_, rows);
}

Result<ServeOptions> ServerCli::options_of_all_words() const {
  auto parsed = options();
  if (!parsed) return parsed;
  if (auto checked = check_words(*parsed); !checked) return std::unexpected(checked.error());
  return parsed;
}

Result<ServeOptions> ServerCli::options() const {
  ServeOptions options = values_;
  auto mode = parse_mode(mode_);
  if (!mode) return std::unexpected(mode.error());
  options.mode = *mode;
  const auto max_io = parse_size(max_io_);
  if (!max_io) return std::unexpected(max_io.error());
  options.max_io_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(*max_io, UINT32_MAX));
  const auto shared_memory = parse_size(shared_memory_);
  if (!shared_memory) return std::unexpected(shared_memory.error());
  options.shared_memory_bytes = *shared_memory;
  options.partition_scan = !no_partition_scan_;
  if (auto parsed = parse_pinning(cpus_, options); !parsed) return std::unexpected(parsed.error());
  options.words = words();
  if (auto valid = validate(options); !valid) return std::unexpected(valid.error());
  return options;
}

Result<> parse_pinning(const std::string& text, ServeOptions& options) {
  if (text == "queue") {
    options.pinning = Pinning::queue;
  } else if (text == "free") {
    options.pinning = Pinning::free;
  } else {
    auto cpus = parse_cpu_list(text);
    if (!cpus) return std::unexpected(cpus.error());
    if (auto can = check_cpus(*cpus, "--server-cpus"); !can) return can;
    options.pinning = Pinning::list;
    options.cpus = std::move(*cpus);
  }
  return {};
}

}  // namespace ublkbench

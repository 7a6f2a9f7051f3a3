// SPDX-License-Identifier: MIT
#include "bench/server/server.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <new>
#include <set>
#include <utility>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/wait.hpp"
#include "bench/server/daemon.hpp"
#include "bench/server/device_record.hpp"
#include "bench/server/server_process.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t ready_timeout_ns = 30'000'000'000;
constexpr std::uint64_t node_timeout_ns = 10'000'000'000;

/// devtmpfs does not replace a file that somebody wrote where a removed device's node was: I/O to
/// it would succeed and reach no device.
Result<> check_node(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return failed("stat", path, errno);
  if (S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode)) return {};
  return failed("open", path, ENOTBLK,
                "it is no device node: something wrote to this path while no device had it; remove "
                "the file and start again");
}

/// The driver makes the node before its command returns where devtmpfs does it; udev may take
/// longer.
Result<> wait_for_node(const std::string& path, int access) {
  const auto there = process::wait_until(
      path, process::deadline_after(node_timeout_ns),
      [&] { return ::access(path.c_str(), access) == 0; },
      "devtmpfs or udev did not make the node in 10 s");
  return there ? check_node(path) : there;
}

// Kernels before 6.5 cannot be asked; they have none of the flags that would be asked for.
std::uint64_t granted_features() { return control::features().value_or(0); }

/// Adds what a step took to `total_ns`, whatever comes of it.
template <class Step>
auto timed(std::uint64_t& total_ns, Step&& step) {
  const std::uint64_t began_ns = now_ns();
  auto outcome = step();
  total_ns += now_ns() - began_ns;
  return outcome;
}

/// Each device's own target. Two devices on one file would be two disks that change each other's
/// data.
Result<std::vector<std::unique_ptr<Target>>> open_targets(const ServeOptions& options) {
  std::vector<std::unique_ptr<Target>> targets;
  std::set<std::string> files;
  const auto shared = [](const std::string& spec) {
    return bad_input(formatted("target {} for several devices", spec),
                     "they would write to the same data: give each its own, %i is the number "
                     "of the device, from 0");
  };
  for (unsigned number = 0; number < options.devices; ++number) {
    const std::string spec = options.target_of(number);
    const bool same_words = number != 0 && spec == options.target_of(number - 1);
    if (same_words && targets.back()->data_owner() == DataOwner::user) return shared(spec);
    auto target = open_target(options, number);
    if (!target) return std::unexpected(target.error());
    const auto identities = file_identities(**target, nullptr);
    for (const std::string& file : identities)
      if (!files.insert(file).second) return shared(spec);
    if (auto others = refuse_shared(identities, (*target)->shape().read_only, options.id); !others)
      return std::unexpected(others.error());
    targets.push_back(std::move(*target));
  }
  return targets;
}

}  // namespace

Result<std::unique_ptr<Target>> open_target(const ServeOptions& options, unsigned number,
                                            bool holds) {
  if (auto valid = validate(options); !valid) return std::unexpected(valid.error());
  if (auto present = control::driver_present(); !present) return std::unexpected(present.error());
  if (auto can = usable(options.mode, control::abilities()); !can)
    return std::unexpected(can.error());
  auto target =
      make_target(options.target_of(number), {.writes = !options.device.read_only, .holds = holds});
  if (!target) return target;
  const DeviceShape shape = (*target)->shape();
  if (auto fits = validate(options, shape); !fits) return std::unexpected(fits.error());
  if (auto valid = validate(options.device, shape, options.max_io_bytes); !valid)
    return std::unexpected(valid.error());
  if (options.mode.reaps().polls)
    if (auto can = (*target)->pollable(data_place(options.mode)); !can)
      return std::unexpected(can.error());
  return target;
}

Result<Server> Server::start(const ServeOptions& options) {
  auto targets = open_targets(options);
  if (!targets) return std::unexpected(targets.error());
  Server server;
  if (auto up = server.set_up(options, std::move(*targets)); !up)
    return std::unexpected(server.undone(up.error()));
  return server;
}

Result<> Server::set_up(const ServeOptions& options, std::vector<std::unique_ptr<Target>> targets) {
  std::vector<ServedDevice> devices;
  for (unsigned number = 0; number < options.devices; ++number) {
    auto device = add_device(options, std::move(targets[number]), number);
    if (!device) return std::unexpected(device.error());
    devices.push_back(std::move(*device));
  }
  const auto up = timed(times_.fetch_ns, [&]() -> Result<> {
    if (auto spawned = spawn(options, std::move(devices)); !spawned) return spawned;
    if (auto ready = channel_.next(ready_timeout_ns); !ready) return std::unexpected(ready.error());
    return {};
  });
  if (!up) return up;
  auto started = bring_up();
  if (started) locks_.clear();
  return started;
}

Error Server::undone(Error why) {
  const int left = id();
  if (const auto removed = kill(); removed || left < 0) return why;
  // The driver lets nobody near a device whose node he may not read and write, not even the process
  // that added it (ublk_ctrl_uring_cmd_permission()).
  if (!why.hint.empty()) why.hint += "; ";
  why.hint += formatted("device {} could not be removed and stays: 'sudo ublk-server del -n {}'",
                        left, left);
  return why;
}

Result<ServedDevice> Server::add_device(const ServeOptions& options, std::unique_ptr<Target> target,
                                        unsigned number) {
  const DeviceShape shape = target->shape();
  const std::uint64_t granted = granted_features();
  const auto device = timed(times_.add_ns, [&] {
    return control::add(
        {.id = options.id < 0 ? -1 : options.id + static_cast<int>(number),
         .queues = static_cast<std::uint16_t>(options.queues),
         .depth = static_cast<std::uint16_t>(options.depth),
         .max_io_bytes = options.max_io_bytes,
         .flags = options.flags(granted) | shape_flags(shape),
         .io_desc_bytes = static_cast<std::uint16_t>(options.device.io_desc_bytes.value_or(0)),
         .kept = options.keep});
  });
  if (!device) return std::unexpected(device.error());
  watch_.add(static_cast<int>(device->dev_id));
  if (number == 0) device_ = *device;
  ServedDevice served{.id = static_cast<int>(device->dev_id), .target = std::move(target)};
  ids_.push_back(served.id);
  if (auto locked = lock_all(control::default_timeout_ns); !locked)
    return std::unexpected(locked.error());
  if (options.device.unprivileged)
    if (auto mine = wait_for_node(formatted("/dev/ublkc{}", served.id), R_OK | W_OK); !mine)
      return std::unexpected(mine.error().with_hint(
          "udev must give the node to its owner: docs/life-cycle.md has the rule"));
  const ublk_params params = device_params(options, shape);
  served.block_shift = params.basic.logical_bs_shift;
  const auto set =
      timed(times_.set_params_ns, [&] { return control::set_params(served.id, params); });
  if (!set) return std::unexpected(set.error());
  if (options.mode.buffers().shared)
    if (auto shared = share_memory(options); !shared) return std::unexpected(shared.error());
  if (auto opened = open_metadata(options, params, MetadataStore::Missing::create); !opened)
    return std::unexpected(opened.error());
  if (metadata_)
    if (auto room = metadata_->make_room(); !room) return std::unexpected(room.error());
  if (!options.words.empty()) {
    // A device that somebody can take over is not made without a record.
    auto saved = save(record(options, served, number));
    if (!saved && options.device.recovery != Recovery::none) return std::unexpected(saved.error());
  }
  return served;
}

Result<> Server::spawn(const ServeOptions& options, std::vector<ServedDevice> devices) {
  const std::size_t daemons = options.task_count();
  auto shared = Mapping::map(daemons * sizeof(DaemonCounters), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS);
  if (!shared) return std::unexpected(shared.error());
  shared_ = std::move(*shared);
  counters_ = {new (shared_.data()) DaemonCounters[daemons], daemons};

  auto channel = make_channel();
  if (!channel) return std::unexpected(channel.error());
  auto said = process::OutputFile::create("stderr of the server process");
  if (!said) return std::unexpected(said.error());
  // It dies with its supervisor, so that a killed run leaves a dead device, not a running one.
  auto child = process::Child::start(
      {.what = "the server process", .keep_all = true, .streams = {-1, -1, said->fd()}}, [&] {
        for (control::DeviceLock& lock : locks_) lock.forget();
        channel->reader = ChannelReader();
        const ServerResources resources{.shared_memory = shared_memory_.data(),
                                        .metadata = metadata_ ? &*metadata_ : nullptr};
        return run_server_process(options, devices, counters_, resources, channel->writer);
      });
  if (!child) return std::unexpected(child.error());
  process_ = std::move(*child);
  said_ = std::move(*said);
  channel_ = std::move(channel->reader);
  return {};
}

Result<> Server::open_metadata(const ServeOptions& options, const ublk_params& params,
                               MetadataStore::Missing missing) {
  if (options.device.metadata.bytes == 0) return {};
  auto store = MetadataStore::open(options.device.metadata, params, missing);
  if (!store) return std::unexpected(store.error());
  metadata_ = std::move(*store);
  return {};
}

DeviceRecord Server::record(const ServeOptions& options, const ServedDevice& served,
                            unsigned number) const {
  std::error_code error;
  const Target& target = *served.target;
  return {.id = served.id,
          .owner = control::owner(device_).value_or(-1),
          .stamp = device_.ublksrv_flags,
          .folder = std::filesystem::current_path(error).string(),
          .words = options.words,
          .target = options.target_of(number),
          .files = file_identities(target, metadata_ ? &*metadata_ : nullptr),
          .target_bytes = target.shape().bytes,
          .read_only = target.shape().read_only,
          .metadata_room_bytes = metadata_ ? metadata_->room_bytes() : 0,
          .layout = target.data_layout(),
          .shared_memory = shared_memory_file_.valid()
                               ? region_identity(options, shared_memory_file_.get())
                               : std::string()};
}

Result<> Server::bring_up() {
  return timed(times_.start_ns, [this]() -> Result<> {
    for (const int id : ids_) {
      if (auto started = control::start(id, process()); !started)
        return explained(std::move(started));
      if (auto there = wait_for_node(formatted("/dev/ublkb{}", id), R_OK); !there) return there;
    }
    return {};
  });
}

Result<> Server::explained(Result<> failed_command) {
  const auto said = channel_.next(0);
  if (said || said.error().errnum == ETIMEDOUT) return failed_command;
  if (said.error().errnum != ECHILD) return std::unexpected(said.error());
  const auto how = wait();  // a signal, say
  return how ? failed_command : how;
}

std::string Server::block_path() const { return formatted("/dev/ublkb{}", id()); }

Result<int> Server::reap(std::uint64_t timeout_ns) {
  auto status = process_.wait(process::deadline_after(timeout_ns));
  if (status) pass_on_what_it_said();
  if (status || status.error().errnum != ETIMEDOUT) return status;
  return failed("wait for the server process", formatted("{} of device {}", process(), id()),
                ETIMEDOUT, "it holds I/O that it does not complete");
}

void Server::pass_on_what_it_said() {
  if (!said_) return;
  if (const std::string words = said_->contents(); !words.empty()) say(words);
  said_.reset();
}

Result<> Server::wait() {
  // A failing daemon says why before the process ends; an orderly end closes the channel.
  return end(channel_.next(process::no_deadline_ns));
}

std::optional<Result<>> Server::attend(bool keep) {
  do {
    auto message = channel_.next(process::no_deadline_ns);
    if (!message || !message->released) return end(std::move(message));
    if (keep)
      std::erase(ids_, *message->released);
    else
      remove_released(*message->released);
  } while (channel_.has_message());
  return std::nullopt;
}

Result<> Server::end(Result<Message> last) {
  while (last && last->released) last = channel_.next(process::no_deadline_ns);
  // It closed its end of the channel, or said what failed, on its way out.
  const auto status = reap(control::default_timeout_ns);
  if (!status) return std::unexpected(last ? status.error() : last.error());
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return {};
  if (WIFSIGNALED(*status))
    return failed("server process", formatted("died of signal {}", WTERMSIG(*status)), 0);
  if (last) return {};
  return std::unexpected(last.error());
}

Server::Server(Server&& other) noexcept { *this = std::move(other); }

Server& Server::operator=(Server&& other) noexcept {
  std::swap(watch_, other.watch_);
  std::swap(locks_, other.locks_);
  std::swap(device_, other.device_);
  std::swap(ids_, other.ids_);
  std::swap(times_, other.times_);
  std::swap(process_, other.process_);
  std::swap(said_, other.said_);
  std::swap(shared_, other.shared_);
  std::swap(shared_memory_file_, other.shared_memory_file_);
  std::swap(shared_memory_, other.shared_memory_);
  std::swap(metadata_, other.metadata_);
  std::swap(counters_, other.counters_);
  std::swap(channel_, other.channel_);
  return *this;
}

Server::~Server() { (void)kill(); }

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/server/server_process.hpp"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <latch>
#include <mutex>
#include <thread>

#include "bench/base/format.hpp"
#include "bench/process/wait.hpp"
#include "bench/server/daemon.hpp"
#include "bench/server/removed_files.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t node_limit_ns = 5'000'000'000;

std::size_t page_align(std::size_t bytes) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

/// The node appears when udev or devtmpfs gets to it, its permissions a moment later.
Result<Fd> open_char_device(int id) {
  const std::string path = formatted("/dev/ublkc{}", id);
  Result<Fd> fd;
  (void)process::wait_until(path, process::deadline_after(node_limit_ns), [&] {
    fd = open_file(path, O_RDWR);
    return fd || (fd.error().errnum != ENOENT && fd.error().errnum != EACCES);
  });
  return fd;
}

/// Memory of one hardware queue that all of its daemons share.
struct QueueMemory {
  Mapping descriptors;
  Mapping buffers;
};

Result<QueueMemory> map_queue(const ServeOptions& options, int char_device, std::uint16_t queue) {
  QueueMemory memory;
  // ublk_ch_mmap: queue q's descriptors are at q times the size of the deepest queue's.
  const std::size_t descriptor_bytes =
      options.device.io_desc_bytes.value_or(sizeof(ublksrv_io_desc));
  const std::size_t stride = page_align(UBLK_MAX_QUEUE_DEPTH * descriptor_bytes);
  const std::size_t bytes = page_align(options.depth * descriptor_bytes);
  auto descriptors = Mapping::map(bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, char_device,
                                  static_cast<off_t>(UBLKSRV_CMD_BUF_OFFSET + queue * stride));
  if (!descriptors) return std::unexpected(descriptors.error());
  memory.descriptors = std::move(*descriptors);
  if (!needs_buffers(options.mode)) return memory;

  auto buffers = Mapping::map(options.depth * options.buffer_bytes(), PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (!buffers) return std::unexpected(buffers.error());
  memory.buffers = std::move(*buffers);
  return memory;
}

/// A device as this process holds it.
struct OpenDevice {
  explicit OpenDevice(const ServedDevice& served)
      : id(served.id), block_shift(served.block_shift), target(served.target.get()) {}

  int id;
  std::uint8_t block_shift;
  Target* target;
  Fd char_device;
  std::vector<QueueMemory> memory;
  std::atomic<unsigned> daemons = 0;  // that serve queues of it
};

/// The only queue of a daemon, whose CPUs it keeps to.
struct QueueOfDevice {
  int device;
  int queue;
};

Result<> pin(const ServeOptions& options, unsigned index,
             const std::optional<QueueOfDevice>& only) {
  std::vector<int> cpus;
  if (options.pinning == Pinning::list) {
    cpus = {options.cpus[index % options.cpus.size()]};
  } else if (options.pinning == Pinning::queue && only) {
    auto affinity = control::queue_affinity(only->device, only->queue);
    if (!affinity) return std::unexpected(affinity.error());
    cpus = std::move(*affinity);
  }
  if (cpus.empty()) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  if (::sched_setaffinity(0, sizeof(set), &set) != 0) {
    const int errnum = errno;
    if (options.pinning == Pinning::list)
      return std::unexpected(failed("pin daemon", formatted("{} to CPU {}", index, cpus.front()),
                                    errnum, "no such CPU, or it is not ours to use")
                                 .error()
                                 .with_exit(ExitCode::usage));
  }
  return {};
}

/// What the daemons' threads share while they start and end.
class Crew {
 public:
  Crew(unsigned daemons, unsigned introducing) : introduced_(introducing), armed_(daemons) {}

  /// The io commands of a queue are with the driver, or never will be.
  void introduced() { introduced_.count_down(); }
  void wait_introduced() { introduced_.wait(); }
  void armed() { armed_.count_down(); }
  void wait_armed() { armed_.wait(); }
  void fail(const Error& error) {
    const std::scoped_lock lock(mutex_);
    if (!failure_) failure_ = error;
    failed_ = true;
  }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] Error failure() {
    const std::scoped_lock lock(mutex_);
    return *failure_;
  }

 private:
  std::latch introduced_;
  std::latch armed_;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  std::optional<Error> failure_;
};

class ServerProcess {
 public:
  ServerProcess(const ServeOptions& options, std::span<const ServedDevice> devices,
                std::span<DaemonCounters> counters, const ServerResources& resources,
                ChannelWriter& channel)
      : options_(options),
        counters_(counters),
        resources_(resources),
        channel_(channel),
        crew_(options.daemon_count(), std::min(options.daemon_count(), options.queue_count())) {
    for (const ServedDevice& device : devices) devices_.emplace_back(device);
  }

  int run() {
    for (OpenDevice& device : devices_)
      if (auto opened = open(device); !opened) {
        channel_.error(opened.error());
        return 1;
      }
    // Each counts before any of them runs: the first to end must not take itself for the last.
    for (unsigned index = 0; index < options_.daemon_count(); ++index)
      for (const std::uint16_t device : devices_of(index)) ++devices_[device].daemons;
    std::vector<std::thread> threads;
    for (unsigned index = 0; index < options_.daemon_count(); ++index)
      threads.emplace_back([this, index] { daemon_main(index); });
    crew_.wait_armed();
    // A daemon that failed leaves the others waiting for requests that never come; the process
    // ends as a whole, and the driver takes the io commands back with it.
    if (crew_.failed()) end_with_failure();
    channel_.ready();
    for (std::thread& thread : threads) thread.join();
    return 0;
  }

 private:
  Result<> open(OpenDevice& device) {
    auto fd = open_char_device(device.id);
    if (!fd) return std::unexpected(fd.error());
    device.char_device = std::move(*fd);
    for (unsigned queue = 0; queue < options_.queues; ++queue) {
      auto memory =
          map_queue(options_, device.char_device.get(), static_cast<std::uint16_t>(queue));
      if (!memory) return std::unexpected(memory.error());
      device.memory.push_back(std::move(*memory));
    }
    return {};
  }

  /// Devices that daemon `index` serves queues of.
  std::vector<std::uint16_t> devices_of(unsigned index) const {
    std::vector<std::uint16_t> devices;
    for (const std::uint16_t queue : queues_of_daemon(options_, index))
      devices.push_back(static_cast<std::uint16_t>(queue / options_.queues));
    std::ranges::sort(devices);
    devices.erase(std::ranges::unique(devices).begin(), devices.end());
    return devices;
  }

  /// The last daemon of a device that is stopped while others are served lets the driver remove it.
  /// What its target holds stays until the process ends.
  void released(std::uint16_t number) {
    OpenDevice& device = devices_[number];
    if (--device.daemons != 0) return;
    device.memory.clear();
    device.char_device.reset();
    channel_.released(device.id);
  }

  DaemonSetup setup_for(unsigned index) {
    const TagShare tags = tags_of_daemon(options_, index);
    DaemonSetup setup{.index = index,
                      .devices = {},
                      .queues = {},
                      .released = {},
                      .counters = &counters_[index],
                      .worker_counters = options_.task_count() > options_.daemon_count()
                                             ? &counters_[options_.daemon_count() + index]
                                             : nullptr,
                      .max_io_bytes = options_.max_io_bytes,
                      .waiting = options_.waiting,
                      .batch = options_.batch,
                      .path = choose_data_path(options_, resources_)};
    const std::vector<std::uint16_t> numbers = devices_of(index);
    for (const std::uint16_t number : numbers)
      setup.devices.push_back({.number = number,
                               .char_device = devices_[number].char_device.get(),
                               .target = devices_[number].target,
                               .block_shift = devices_[number].block_shift});
    setup.plain_files = devices_.size() > 1 && !frees_removed_files();
    if (devices_.size() > 1)
      setup.released = [this](const DeviceView& device) { released(device.number); };
    for (const std::uint16_t queue : queues_of_daemon(options_, index)) {
      const auto number = static_cast<std::uint16_t>(queue / options_.queues);
      const auto id = static_cast<std::uint16_t>(queue % options_.queues);
      const QueueMemory& memory = devices_[number].memory[id];
      setup.queues.push_back(
          {.device =
               static_cast<std::uint16_t>(std::ranges::find(numbers, number) - numbers.begin()),
           .id = id,
           .depth = static_cast<std::uint16_t>(options_.depth),
           .first_slot = 0,
           .descriptors = memory.descriptors.data(),
           .descriptor_bytes = options_.device.io_desc_bytes.value_or(sizeof(ublksrv_io_desc)),
           .buffers = memory.buffers.data(),
           .buffer_bytes = memory.buffers.valid() ? options_.buffer_bytes() : 0,
           .first_tag = tags.first,
           .tag_step = tags.step,
           .introduce = introduces(index)});
    }
    return setup;
  }

  /// Batch: whether the daemon sends PREP_IO_CMDS for its queues, or others did.
  bool introduces(unsigned index) const { return index < options_.queue_count(); }

  std::optional<QueueOfDevice> only_queue_of(unsigned index) const {
    const std::vector<std::uint16_t> queues = queues_of_daemon(options_, index);
    if (queues.size() != 1) return std::nullopt;
    return QueueOfDevice{.device = devices_[queues.front() / options_.queues].id,
                         .queue = static_cast<int>(queues.front() % options_.queues)};
  }

  Result<std::unique_ptr<Daemon>> make_armed(unsigned index) {
    ::prctl(PR_SET_NAME, formatted("ublk-d{}", index).c_str());
    // Serving a file of a file system whose writeback needs this device must not wait for that
    // writeback (PR_SET_IO_FLUSHER; fails without CAP_SYS_RESOURCE, which is no error).
    ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
    if (auto pinned = pin(options_, index, only_queue_of(index)); !pinned)
      return std::unexpected(pinned.error());
    counters_[index].task_id = ::gettid();
    DaemonSetup setup = setup_for(index);
    if (options_.die_while_fetching)
      for (QueueView& queue : setup.queues)
        queue.depth = static_cast<std::uint16_t>((queue.depth + 1) / 2);
    auto daemon = make_daemon(options_.mode, std::move(setup));
    if (!daemon) return daemon;
    // A queue that is recovered refuses fetches until its io commands were introduced, with the
    // errno of an orderly end (ublk_batch_attach(): canceling).
    if (!introduces(index)) crew_.wait_introduced();
    if (auto armed = (*daemon)->arm(); !armed) return std::unexpected(armed.error());
    if (options_.die_while_fetching) ::kill(::getpid(), SIGKILL);
    return daemon;
  }

  void daemon_main(unsigned index) {
    auto daemon = make_armed(index);
    if (!daemon) crew_.fail(daemon.error());
    if (introduces(index)) crew_.introduced();
    crew_.armed();
    if (!daemon) return;
    if (auto served = (*daemon)->serve(); !served) {
      crew_.fail(served.error());
      end_with_failure();
    }
  }

  [[noreturn]] void end_with_failure() {
    channel_.error(crew_.failure());
    ::_exit(1);
  }

  const ServeOptions& options_;
  std::span<DaemonCounters> counters_;
  ServerResources resources_;
  ChannelWriter& channel_;
  Crew crew_;
  std::deque<OpenDevice> devices_;
};

}  // namespace

int run_server_process(const ServeOptions& options, std::span<const ServedDevice> devices,
                       std::span<DaemonCounters> counters, const ServerResources& resources,
                       ChannelWriter& channel) {
  return ServerProcess(options, devices, counters, resources, channel).run();
}

}  // namespace ublkbench

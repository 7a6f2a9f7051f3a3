// SPDX-License-Identifier: MIT
#include "bench/control/control.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "bench/base/format.hpp"
#include "bench/control/command.hpp"
#include "bench/control/device_limit.hpp"
#include "bench/control/features.hpp"
#include "bench/control/maker.hpp"
#include "bench/control/removal.hpp"
#include "bench/process/interrupt.hpp"

namespace ublkbench::control {
namespace {

/// DEL_DEV waits in the driver until nobody has the device open.
constexpr std::uint64_t longest_del_wait_ns = 10'000'000'000;

std::string char_path(int id) { return formatted("/dev/ublkc{}", id); }

std::string device_name(int id) { return formatted("ublk device {}", id); }

Command command_for(int id, std::uint32_t op, std::string name) {
  Command command{.op = op, .name = std::move(name)};
  command.header.dev_id = static_cast<std::uint32_t>(id);
  command.header.queue_id = static_cast<std::uint16_t>(-1);
  return command;
}

template <class T>
std::span<std::byte> payload_of(T& object) {
  return std::as_writable_bytes(std::span(&object, 1));
}

/// What ENODEV means: of a device that is there, that it has no disk (ublk_ctrl_try_stop_dev(),
/// ublk_ctrl_set_size()).
std::string_view what_is_missing(const Command& command) {
  const bool of_disk =
      command.op == UBLK_U_CMD_TRY_STOP_DEV || command.op == UBLK_U_CMD_UPDATE_SIZE;
  return of_disk && info(static_cast<int>(command.header.dev_id))
             ? "it has no disk: it was stopped, or never started"
             : "there is no such device";
}

/// Turns the driver's negative answer into an error that says what to do.
Result<int> checked(const Command& command, Result<int> answer) {
  if (!answer || *answer >= 0) return answer;
  const int errnum = -*answer;
  const std::string object = device_name(static_cast<int>(command.header.dev_id));
  switch (errnum) {
    case EPERM:
    case EACCES:
      return failed(command.name, object, errnum,
                    "needs CAP_SYS_ADMIN (run as root), or an unprivileged device of your own "
                    "(add --unprivileged)");
    case ENODEV:
      return std::unexpected(failed(command.name, object, errnum, what_is_missing(command))
                                 .error()
                                 .with_exit(ExitCode::usage));
    default:
      return failed(command.name, object, errnum);
  }
}

/// Whether the driver's answer may mean that it wants the path of the device's node.
bool may_want_path(const Result<int>& answer) {
  return answer && (*answer == -EINVAL || *answer == -EPERM || *answer == -EACCES);
}

bool is_unprivileged(int id) {
  const auto device = info(id);
  return device && (device->flags & UBLK_F_UNPRIVILEGED_DEV) != 0;
}

Result<int> bounded(Command command, std::uint64_t timeout_ns = default_timeout_ns) {
  auto answer = issue_bounded(command, timeout_ns);
  const int id = static_cast<int>(command.header.dev_id);
  if (command.op != UBLK_U_CMD_ADD_DEV && may_want_path(answer) && is_unprivileged(id)) {
    command.device_path = char_path(id);
    answer = issue_bounded(command, timeout_ns);
  }
  return checked(command, std::move(answer));
}

Result<> done(Result<int> answer) {
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Error refused_add(const DeviceSpec& spec, Error error) {
  if (error.errnum == EACCES)
    if (const auto limit = device_limit(); limit && limit->may_be_reached())
      return error.with_hint(
          formatted("{}: remove a device, or as root write a larger number to {}", limit->text(),
                    device_limit_path));
  if (error.errnum == EEXIST)
    return error
        .with_hint(is_going(spec.id)
                       ? formatted("device {} was deleted, but its number is taken until it is "
                                   "closed: {}",
                                   spec.id, who_keeps(spec.id))
                       : formatted("device id {} is in use: choose another id, or remove it with "
                                   "'ublk-server del -n {}'",
                                   spec.id, spec.id))
        .with_exit(ExitCode::usage);
  if (error.errnum == ENOMEM)
    return error.with_hint("not enough memory for the tags: use a smaller depth or fewer queues");
  // ublk_drv.c keeps the tags of a batch in a kfifo, and kfifo_alloc takes no size below 2.
  if (error.errnum == EINVAL && spec.depth < 2 && (spec.flags & UBLK_F_BATCH_IO) != 0)
    return error.with_hint("batch delivery needs a queue depth of 2 or more")
        .with_exit(ExitCode::usage);
  if (error.errnum == EINVAL)
    return error.with_hint(formatted("the driver refuses {} queues of depth {} with {}",
                                     spec.queues, spec.depth, feature_names(spec.flags)));
  return error;
}

/// What was asked for and not granted; empty when all was.
std::string ungranted(const DeviceSpec& spec, const ublksrv_ctrl_dev_info& granted) {
  const std::uint64_t missing = spec.flags & ~granted.flags;
  // ublk_ctrl_add_dev() takes the flag from a caller who has CAP_SYS_ADMIN.
  if (missing == UBLK_F_UNPRIVILEGED_DEV)
    return "an unprivileged device to a caller with CAP_SYS_ADMIN: run it as the user who shall "
           "own "
           "it, or leave --unprivileged out";
  if (missing != 0) {
    std::string first;
    for (const Feature& known : all_features())
      if ((known.flag & missing) != 0) first = known.first_kernel;
    return formatted("{} (first in Linux {})", feature_names(missing), first);
  }
  if (granted.nr_hw_queues != spec.queues)
    return formatted("{} queues: the driver gives at most one per CPU, here {}", spec.queues,
                     granted.nr_hw_queues);
  if (spec.io_desc_bytes != 0 && granted.io_desc_size != spec.io_desc_bytes)
    return formatted("{} bytes per io descriptor (granted {})", spec.io_desc_bytes,
                     granted.io_desc_size);
  if (granted.queue_depth != spec.depth)
    return formatted("depth {} (granted {})", spec.depth, granted.queue_depth);
  if (granted.max_io_buf_bytes != spec.max_io_bytes)
    return formatted("{} bytes per I/O (granted {})", spec.max_io_bytes, granted.max_io_buf_bytes);
  return {};
}

}  // namespace

Result<> driver_present() {
  ublksrv_ctrl_dev_info info{};
  auto command = command_for(-1, UBLK_U_CMD_GET_DEV_INFO, "GET_DEV_INFO");
  command.payload = payload_of(info);
  const auto answer = issue_inline(command);
  if (!answer) return std::unexpected(answer.error());
  return {};  // any answer of the driver, ENODEV included, proves that it is there
}

namespace {

Result<std::uint64_t> ask_features(RingKind kind) {
  std::uint64_t flags = 0;
  auto command = command_for(-1, UBLK_U_CMD_GET_FEATURES, "GET_FEATURES");
  command.payload = payload_of(flags);
  if (const auto answer = checked(command, issue_inline(command, kind)); !answer)
    return std::unexpected(answer.error());
  return flags;
}

}  // namespace

Result<std::uint64_t> features() {
  auto flags = ask_features(RingKind::plain);
  if (!flags && (flags.error().errnum == EOPNOTSUPP || flags.error().errnum == EINVAL))
    return std::unexpected(flags.error().with_hint("this driver is older than Linux 6.5"));
  return flags;
}

KernelAbilities abilities() {
  return {.features = features().value_or(0),
          .commands_on_polling_rings = ask_features(RingKind::polling).has_value()};
}

Result<ublksrv_ctrl_dev_info> add(const DeviceSpec& spec) {
  ublksrv_ctrl_dev_info info{};
  info.dev_id = static_cast<std::uint32_t>(spec.id);
  info.nr_hw_queues = spec.queues;
  info.queue_depth = spec.depth;
  info.max_io_buf_bytes = spec.max_io_bytes;
  info.io_desc_size = spec.io_desc_bytes;
  info.flags = spec.flags | UBLK_F_CMD_IOCTL_ENCODE;
  info.ublksrv_flags = encode(own_stamp(spec.kept));

  // Given up halfway, there would be a device that nobody knows the number of.
  const process::Uninterrupted until_it_is_known;
  auto command = command_for(spec.id, UBLK_U_CMD_ADD_DEV, "ADD_DEV");
  command.payload = payload_of(info);
  if (auto answer = bounded(command); !answer)
    return std::unexpected(refused_add(spec, answer.error()));
  if (const std::string missing = ungranted(spec, info); !missing.empty()) {
    (void)remove(static_cast<int>(info.dev_id));
    return unsupported("the driver does not grant " + missing);
  }
  return info;
}

Result<> set_params(int id, const ublk_params& params) {
  ublk_params copy = params;
  copy.len = sizeof(copy);
  auto command = command_for(id, UBLK_U_CMD_SET_PARAMS, "SET_PARAMS");
  command.payload = payload_of(copy);
  return done(bounded(command));
}

Result<ublk_params> get_params(int id) {
  ublk_params params{};
  params.len = sizeof(params);
  auto command = command_for(id, UBLK_U_CMD_GET_PARAMS, "GET_PARAMS");
  command.payload = payload_of(params);
  if (auto answer = bounded(command); !answer) return std::unexpected(answer.error());
  return params;
}

Result<> start(int id, pid_t server, std::uint64_t timeout_ns) {
  auto command = command_for(id, UBLK_U_CMD_START_DEV, "START_DEV");
  command.header.data[0] = static_cast<std::uint64_t>(server);
  return done(bounded(command, timeout_ns));
}

Result<int> register_shared_memory(int id, std::span<std::byte> memory, bool read_only) {
  ublk_shmem_buf_reg region{};
  if (read_only) region.flags = UBLK_SHMEM_BUF_READ_ONLY;
  region.addr = reinterpret_cast<std::uintptr_t>(memory.data());
  region.len = memory.size();
  auto command = command_for(id, UBLK_U_CMD_REG_BUF, "REG_BUF");
  command.payload = payload_of(region);
  auto index = bounded(command);
  if (!index && index.error().errnum == ENOMEM)
    return std::unexpected(index.error().with_hint(
        "the memory is pinned: raise the locked-memory limit, or share less"));
  return index;
}

Result<> stop(int id, std::uint64_t timeout_ns) {
  return done(bounded(command_for(id, UBLK_U_CMD_STOP_DEV, "STOP_DEV"), timeout_ns));
}

Result<> try_stop(int id, std::uint64_t timeout_ns) {
  auto stopped =
      done(bounded(command_for(id, UBLK_U_CMD_TRY_STOP_DEV, "TRY_STOP_DEV"), timeout_ns));
  if (!stopped && stopped.error().errnum == EBUSY)
    return std::unexpected(stopped.error().with_hint("somebody has the block device open"));
  return stopped;
}

Result<> delete_once(int id, std::uint64_t timeout_ns) {
  auto deleted =
      done(bounded(command_for(id, UBLK_U_CMD_DEL_DEV_ASYNC, "DEL_DEV_ASYNC"), timeout_ns));
  // Of an unprivileged device the driver takes DEL_DEV only (ublk_ctrl_uring_cmd_permission()).
  const bool known =
      deleted || (deleted.error().errnum != EOPNOTSUPP && deleted.error().errnum != EINVAL);
  if (known) return deleted;
  deleted = done(bounded(command_for(id, UBLK_U_CMD_DEL_DEV, "DEL_DEV"),
                         std::min(timeout_ns, longest_del_wait_ns)));
  return is_going(id) ? Result<>{} : deleted;
}

Result<> resize(int id, std::uint64_t bytes) {
  auto command = command_for(id, UBLK_U_CMD_UPDATE_SIZE, "UPDATE_SIZE");
  command.header.data[0] = bytes >> 9;
  return done(bounded(command));
}

Result<> quiesce_once(int id, std::uint64_t timeout_ns) {
  auto command = command_for(id, UBLK_U_CMD_QUIESCE_DEV, "QUIESCE_DEV");
  // In the driver 0 means for ever.
  command.header.data[0] = std::max<std::uint64_t>(timeout_ns / 1'000'000, 1);
  auto quiesced = done(bounded(command, timeout_ns + 5'000'000'000));
  if (!quiesced && quiesced.error().errnum == EOPNOTSUPP)
    return std::unexpected(quiesced.error().with_hint(
        "the device was added without UBLK_F_QUIESCE: add it with --recovery (Linux 6.16)"));
  return quiesced;
}

Result<> start_recovery(int id) {
  return done(bounded(command_for(id, UBLK_U_CMD_START_USER_RECOVERY, "START_USER_RECOVERY")));
}

Result<> end_recovery(int id, pid_t server, std::uint64_t timeout_ns) {
  auto command = command_for(id, UBLK_U_CMD_END_USER_RECOVERY, "END_USER_RECOVERY");
  command.header.data[0] = static_cast<std::uint64_t>(server);
  return done(bounded(command, timeout_ns));
}

bool recoverable(const ublksrv_ctrl_dev_info& device) {
  return (device.flags & UBLK_F_USER_RECOVERY) != 0;
}

bool waits_for_recovery(const ublksrv_ctrl_dev_info& device) {
  return device.state == UBLK_S_DEV_QUIESCED || device.state == UBLK_S_DEV_FAIL_IO;
}

bool waits_when_quiesced(const ublksrv_ctrl_dev_info& device) {
  return (device.flags & (UBLK_F_USER_RECOVERY_FAIL_IO | UBLK_F_BATCH_IO)) == 0;
}

Result<ublksrv_ctrl_dev_info> info(int id) {
  ublksrv_ctrl_dev_info info{};
  auto command = command_for(id, UBLK_U_CMD_GET_DEV_INFO, "GET_DEV_INFO");
  command.payload = payload_of(info);
  auto answer = issue_inline(command);
  if (may_want_path(answer)) {
    command.op = UBLK_U_CMD_GET_DEV_INFO2;
    command.device_path = char_path(id);
    answer = issue_inline(command);
  }
  if (answer = checked(command, std::move(answer)); !answer) return std::unexpected(answer.error());
  return info;
}

Result<std::vector<int>> queue_affinity(int id, int queue) {
  std::array<std::uint64_t, 128> mask{};  // 8192 CPUs, the largest NR_CPUS of x86-64
  auto command = command_for(id, UBLK_U_CMD_GET_QUEUE_AFFINITY, "GET_QUEUE_AFFINITY");
  command.header.data[0] = static_cast<std::uint64_t>(queue);
  command.payload = payload_of(mask);
  auto answer = issue_inline(command);
  if (may_want_path(answer) && is_unprivileged(id)) {
    command.device_path = char_path(id);
    answer = issue_inline(command);
  }
  if (answer = checked(command, std::move(answer)); !answer) return std::unexpected(answer.error());
  std::vector<int> cpus;
  for (std::size_t cpu = 0; cpu < mask.size() * 64; ++cpu)
    if ((mask[cpu / 64] >> (cpu % 64)) & 1) cpus.push_back(static_cast<int>(cpu));
  return cpus;
}

std::vector<int> device_ids() {
  std::vector<int> ids;
  std::error_code error;
  constexpr std::string_view prefix = "ublkc";
  for (const auto& entry : std::filesystem::directory_iterator("/sys/class/ublk-char", error)) {
    const std::string name = entry.path().filename().string();
    int id = 0;
    if (name.starts_with(prefix) &&
        std::from_chars(name.data() + prefix.size(), name.data() + name.size(), id).ec ==
            std::errc{})
      ids.push_back(id);
  }
  std::ranges::sort(ids);
  return ids;
}

std::optional<pid_t> owner(const ublksrv_ctrl_dev_info& info) {
  if (const auto stamp = decode(info.ublksrv_flags)) return stamp->pid;
  return earlier_stamp(info.ublksrv_flags);
}

std::string state_name(unsigned state) {
  switch (state) {
    case UBLK_S_DEV_DEAD:
      return "DEAD";
    case UBLK_S_DEV_LIVE:
      return "LIVE";
    case UBLK_S_DEV_QUIESCED:
      return "QUIESCED";
    case UBLK_S_DEV_FAIL_IO:
      return "FAIL_IO";
    default:
      return formatted("state {}", state);
  }
}

}  // namespace ublkbench::control

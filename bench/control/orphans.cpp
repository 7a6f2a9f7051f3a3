// SPDX-License-Identifier: MIT
#include "bench/control/orphans.hpp"

#include "bench/base/format.hpp"
#include "bench/control/device_lock.hpp"
#include "bench/control/holders.hpp"

namespace ublkbench::control {
namespace {

Verdict spared(std::string why) { return {.orphan = false, .why = std::move(why)}; }

}  // namespace

Verdict judge(const DeviceFacts& facts) {
  if (earlier_stamp(facts.stamp))
    return spared("made by an earlier version of this suite, which does not say whether it lives");
  const auto stamp = decode(facts.stamp);
  if (!stamp || !facts.maker) return spared("not made by this suite");
  if (*facts.maker == MakerState::elsewhere)
    return spared(formatted(
        "made in another PID namespace, by process {} there, which cannot be seen from here",
        stamp->pid));
  if (*facts.maker == MakerState::alive)
    return spared(formatted("process {}, which made it, lives", stamp->pid));
  if (!facts.served_by.empty()) return spared(facts.served_by + " has it open");
  if (facts.watched) return spared("a process that looks after it lives");
  if (facts.waits) return spared("it waits for a server: recover it, or remove it by number");
  if (stamp->kept) return spared("it was added with --keep: remove it by number");
  return {.orphan = true,
          .why = formatted("process {}, which made it, and its server ended", stamp->pid)};
}

Verdict look_at(const ublksrv_ctrl_dev_info& device) {
  DeviceFacts facts;
  facts.stamp = device.ublksrv_flags;
  if (const auto stamp = decode(device.ublksrv_flags)) facts.maker = state_of(*stamp);
  const int id = static_cast<int>(device.dev_id);
  facts.watched = is_watched(id);
  // One that outlives its server is LIVE without a process until ublk_ch_release_work_fn() ran.
  facts.waits =
      waits_for_recovery(device) || (recoverable(device) && device.state != UBLK_S_DEV_DEAD);
  if (const auto server = server_process(device); server.found())
    facts.served_by = server.process.text();
  return judge(facts);
}

std::vector<Judged> judge_devices() {
  std::vector<Judged> judged;
  for (const int id : device_ids())
    if (const auto device = info(id)) judged.push_back({.id = id, .verdict = look_at(*device)});
  return judged;
}

}  // namespace ublkbench::control

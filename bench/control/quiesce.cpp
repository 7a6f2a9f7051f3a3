// SPDX-License-Identifier: MIT
#include "bench/control/quiesce.hpp"

#include <algorithm>
#include <string_view>

#include "bench/base/clock.hpp"
#include "bench/base/format.hpp"
#include "bench/control/control.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::control {
namespace {

constexpr std::uint64_t first_pause_ns = 1'000'000;
constexpr std::uint64_t longest_pause_ns = 50'000'000;

/// Whether the device waits for a server, looked at until `deadline_ns`.
Result<bool> quiet_by(int id, std::uint64_t deadline_ns) {
  Result<ublksrv_ctrl_dev_info> device;
  const auto settled = process::wait_until("the device to be quiesced", deadline_ns, [&] {
    device = info(id);
    return !device || waits_for_recovery(*device) || device->state == UBLK_S_DEV_DEAD;
  });
  if (!settled && settled.error().errnum == ETIMEDOUT) return false;
  if (!settled) return std::unexpected(settled.error());
  if (!device) return std::unexpected(device.error());
  if (waits_for_recovery(*device)) return true;
  return failed("QUIESCE_DEV", formatted("on ublk device {}", id), ENODEV,
                "the device was stopped meanwhile");
}

std::string_view fate_of_io(int id) {
  const auto device = info(id);
  return device && !waits_when_quiesced(*device) ? "fails" : "waits";
}

}  // namespace

// Linux 7.3's QUIESCE_DEV cancels the io commands that are idle at that moment, once. What the
// server had in hand is committed later and fetched anew, and those commands nobody takes back:
// the server waits for requests, the requests for the next server (ublk_wait_for_idle_io() means to
// prevent it, but counts requests that are not started among those that are). Asking again takes
// back what was fetched since.
//
// Never of a device that is not LIVE: the driver says "done" and cancels nevertheless
// (ublk_ctrl_quiesce_dev()), and then it is the next server's commands that it takes away.
Result<Quiesced> quiesce(int id, std::uint64_t timeout_ns) {
  const std::uint64_t began_ns = now_ns();
  const std::uint64_t deadline_ns = began_ns + timeout_ns;
  Quiesced report;
  for (std::uint64_t pause_ns = 0;;
       pause_ns = std::clamp(2 * pause_ns, first_pause_ns, longest_pause_ns)) {
    const auto quiet = quiet_by(id, std::min(deadline_ns, now_ns() + pause_ns));
    if (!quiet) return std::unexpected(quiet.error());
    if (*quiet) break;
    if (report.rounds != 0 && now_ns() >= deadline_ns)
      return failed("QUIESCE_DEV", formatted("on ublk device {}", id), ETIMEDOUT,
                    formatted("its server holds I/O that it does not complete; the device's I/O "
                              "{} now. Ask again, or end the server process and 'ublk-server "
                              "recover'",
                              fate_of_io(id)));
    const std::uint64_t left_ns = deadline_ns - std::min(deadline_ns, now_ns());
    ++report.rounds;
    auto asked = quiesce_once(id, std::max<std::uint64_t>(left_ns, 1'000'000));
    if (!asked && asked.error().errnum != EBUSY) return std::unexpected(asked.error());
  }
  report.took_ns = now_ns() - began_ns;
  return report;
}

}  // namespace ublkbench::control

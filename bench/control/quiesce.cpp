// SPDX-License-Identifier: MIT
#include "bench/control/quiesce.hpp"

#include <unistd.h>

#include <algorithm>
#include <format>
#include <string_view>

#include "bench/base/clock.hpp"
#include "bench/control/control.hpp"

namespace ublkbench::control {
namespace {

constexpr std::uint64_t first_pause_ns = 1'000'000;
constexpr std::uint64_t longest_pause_ns = 50'000'000;

/// Whether the device waits for a server, looked at until `deadline_ns`.
Result<bool> quiet_by(int id, std::uint64_t deadline_ns) {
  for (;;) {
    const auto device = info(id);
    if (!device) return std::unexpected(device.error());
    if (waits_for_recovery(*device)) return true;
    if (device->state == UBLK_S_DEV_DEAD)
      return failed("QUIESCE_DEV", std::format("on ublk device {}", id), ENODEV,
                    "the device was stopped meanwhile");
    if (now_ns() >= deadline_ns) return false;
    ::usleep(200);
  }
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
Result<Quiesced> quiesce(int id, std::uint64_t timeout_ns) {
  const std::uint64_t began_ns = now_ns();
  const std::uint64_t deadline_ns = began_ns + timeout_ns;
  Quiesced report;
  for (std::uint64_t pause_ns = first_pause_ns;;
       pause_ns = std::min(2 * pause_ns, longest_pause_ns)) {
    const std::uint64_t left_ns = deadline_ns - std::min(deadline_ns, now_ns());
    ++report.rounds;
    auto asked = quiesce_once(id, std::max<std::uint64_t>(left_ns, 1'000'000));
    if (!asked && asked.error().errnum != EBUSY) return std::unexpected(asked.error());
    const auto quiet = quiet_by(id, std::min(deadline_ns, now_ns() + pause_ns));
    if (!quiet) return std::unexpected(quiet.error());
    if (*quiet) break;
    if (now_ns() >= deadline_ns)
      return failed("QUIESCE_DEV", std::format("on ublk device {}", id), ETIMEDOUT,
                    std::format("its server holds I/O that it does not complete; the device's I/O "
                                "{} now. Ask again, or end the server process and 'ublk-server "
                                "recover'",
                                fate_of_io(id)));
  }
  report.took_ns = now_ns() - began_ns;
  return report;
}

}  // namespace ublkbench::control

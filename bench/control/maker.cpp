// SPDX-License-Identifier: MIT
#include "bench/control/maker.hpp"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "bench/base/format.hpp"

namespace ublkbench::control {
namespace {

constexpr std::uint64_t magic = 0x7563;  // the upper 16 bits
constexpr unsigned magic_shift = 48;
constexpr std::uint64_t earlier_magic = 0x75626e63;  // the upper 32 bits
constexpr unsigned earlier_magic_shift = 32;

constexpr std::uint64_t mask(unsigned bits) { return (1ULL << bits) - 1; }

/// The number in a link such as "pid:[4026531836]".
std::uint64_t namespace_number(const char* link) {
  char text[64];
  const ssize_t length = ::readlink(link, text, sizeof(text));
  if (length <= 0) return 0;
  const std::string_view words(text, static_cast<std::size_t>(length));
  const auto open = words.find('[');
  if (open == std::string_view::npos) return 0;
  std::uint64_t number = 0;
  std::from_chars(words.data() + open + 1, words.data() + words.size(), number);
  return number;
}

/// Whether /proc shows processes by the numbers that we know them by: after unshare --pid without
/// --mount-proc it shows those of the outer namespace.
bool proc_is_ours() {
  char text[32];
  const ssize_t length = ::readlink("/proc/self", text, sizeof(text));
  return length > 0 &&
         std::string_view(text, static_cast<std::size_t>(length)) == std::to_string(::getpid());
}

// Start times are shifted by a time namespace (fs/proc/array.c, timens_add_boottime_ns()), so
// another one of these is another place as well. 4026531834 is the first one's number
// (PROC_TIME_INIT_INO).
std::uint32_t own_space() {
  const std::uint64_t pids = namespace_number("/proc/self/ns/pid");
  if (pids == 0) return 0;
  const std::uint64_t first_time = 4026531834;
  std::uint64_t times = namespace_number("/proc/self/ns/time");
  if (times == 0) times = first_time;  // before Linux 5.6
  return static_cast<std::uint32_t>((pids ^ times ^ first_time) & mask(Stamp::space_bits));
}

std::uint32_t start_tag(std::optional<std::uint64_t> ticks) {
  return ticks ? static_cast<std::uint32_t>(*ticks % mask(Stamp::start_bits)) + 1 : 0;
}

}  // namespace

std::optional<std::uint64_t> start_time(pid_t pid) {
  std::ifstream file(formatted("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // The name may hold anything, also blanks and brackets.
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 1));
  std::string state;
  fields >> state;
  if (state == "Z" || state == "X") return std::nullopt;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  std::uint64_t ticks = 0;
  if (!(fields >> ticks)) return std::nullopt;
  return ticks;
}

std::uint64_t encode(const Stamp& stamp) {
  std::uint64_t bits = magic;
  bits = bits << Stamp::pid_bits | (static_cast<std::uint64_t>(stamp.pid) & mask(Stamp::pid_bits));
  bits = bits << 1 | (stamp.kept ? 1 : 0);
  bits = bits << Stamp::start_bits | (stamp.start & mask(Stamp::start_bits));
  return bits << Stamp::space_bits | (stamp.space & mask(Stamp::space_bits));
}

std::optional<Stamp> decode(std::uint64_t bits) {
  static_assert(Stamp::pid_bits + 1 + Stamp::start_bits + Stamp::space_bits == magic_shift);
  if (bits >> magic_shift != magic) return std::nullopt;
  Stamp stamp;
  stamp.space = static_cast<std::uint32_t>(bits & mask(Stamp::space_bits));
  bits >>= Stamp::space_bits;
  stamp.start = static_cast<std::uint32_t>(bits & mask(Stamp::start_bits));
  bits >>= Stamp::start_bits;
  stamp.kept = (bits & 1) != 0;
  stamp.pid = static_cast<pid_t>((bits >> 1) & mask(Stamp::pid_bits));
  if (stamp.pid == 0) return std::nullopt;  // kill(0) would ask for our own group
  return stamp;
}

std::optional<pid_t> earlier_stamp(std::uint64_t bits) {
  if (bits >> earlier_magic_shift != earlier_magic) return std::nullopt;
  return static_cast<pid_t>(bits & mask(earlier_magic_shift));
}

Stamp own_stamp(bool kept) {
  return {.pid = ::getpid(),
          .space = own_space(),
          .start = proc_is_ours() ? start_tag(start_time(::getpid())) : 0,
          .kept = kept};
}

MakerState state_of(const Stamp& maker) {
  const std::uint32_t here = own_space();
  if (here == 0 || maker.space != here) return MakerState::elsewhere;
  if (::kill(maker.pid, 0) != 0 && errno == ESRCH) return MakerState::dead;
  if (!proc_is_ours()) return MakerState::alive;
  const auto started = start_time(maker.pid);
  if (!started) return MakerState::dead;
  if (maker.start != 0 && start_tag(started) != maker.start) return MakerState::dead;
  return MakerState::alive;
}

}  // namespace ublkbench::control

// SPDX-License-Identifier: MIT
#include "bench/server/mode.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/control/features.hpp"

namespace ublkbench {
namespace {

// In the order of the enumerations.
constexpr std::array<BufferTraits, 7> buffer_rows{{
    {.name = "copy", .flags = 0, .own_buffers = true, .unprivileged = true},
    {.name = "get_data", .flags = UBLK_F_NEED_GET_DATA, .own_buffers = true, .unprivileged = true},
    {.name = "user_copy",
     .flags = UBLK_F_USER_COPY,
     .own_buffers = true,
     .metadata = true,
     .zoned = true,
     .zoned_in_driver = true},
    {.name = "zc",
     .flags = UBLK_F_SUPPORT_ZERO_COPY,
     .registered = true,
     .zoned = true,
     .zoned_in_driver = true},
    {.name = "auto_zc",
     .flags = UBLK_F_AUTO_BUF_REG,
     .registered = true,
     .registered_by_driver = true,
     .zoned_in_driver = true,
     .falls_back = true},
    {.name = "shmem_zc", .flags = UBLK_F_SHMEM_ZC, .own_buffers = true, .shared = true},
    {.name = "mixed",
     .flags = UBLK_F_USER_COPY | UBLK_F_AUTO_BUF_REG,
     .registered = true,
     .registered_by_driver = true,
     .own_buffers = true,
     .zoned_in_driver = true,
     .sized = true},
}};
constexpr std::array<DeliveryTraits, 2> delivery_rows{{
    {.name = "per_io", .flags = 0},
    {.name = "batch", .flags = UBLK_F_BATCH_IO, .batch = true},
}};
constexpr std::array<ReapTraits, 3> reap_rows{{
    {.name = "interrupt", .flags = 0},
    {.name = "iopoll", .flags = 0, .polls = true},
    {.name = "iopoll_split", .flags = 0, .polls = true, .polls_apart = true},
}};
constexpr std::array<PlacementTraits, 3> placement_rows{{
    {.name = "per_queue", .flags = 0},
    {.name = "per_io_daemon", .flags = UBLK_F_PER_IO_DAEMON, .spreads_tags = true},
    {.name = "offload", .flags = 0, .worker = true},
}};

/// Other words for some.
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> aliases{
    {{"zero_copy", "zc"}, {"auto_reg", "auto_zc"}, {"auto_buf_reg", "auto_zc"}}};

constexpr std::uint32_t default_mixed_bytes = 64 << 10;

template <class Table, class Word>
const auto& row_of(const Table& table, Word word) {
  return table[static_cast<std::size_t>(word)];
}

/// Sets `field` when `name` is in `table`. A second word of the same axis is an error.
template <class Table, class Word>
Result<bool> take(const Table& table, std::string_view name, Word& field, bool& taken,
                  std::string_view axis) {
  const auto found = std::ranges::find(table, name, [](const auto& row) { return row.name; });
  if (found == table.end()) return false;
  const auto value = static_cast<Word>(found - table.begin());
  if (taken && field != value)
    return bad_input(formatted("mode words '{}' and '{}' exclude each other: both say {}",
                               row_of(table, field).name, name, axis));
  field = value;
  taken = true;
  return true;
}

std::string joined(const std::vector<std::string>& words) {
  std::string list;
  for (const std::string& word : words) list += (list.empty() ? "" : ", ") + word;
  return list;
}

struct Parser {
  Mode mode;
  bool buffer = false, delivery = false, reaping = false, placement = false;

  Result<> word(std::string name) {
    std::ranges::replace(name, '-', '_');
    if (name.starts_with("mixed:")) {
      const auto bytes = parse_size(std::string_view(name).substr(6));
      if (!bytes) return std::unexpected(bytes.error());
      mode.mixed_bytes = static_cast<std::uint32_t>(std::min<std::uint64_t>(*bytes, 1U << 31));
      name = "mixed";
    } else if (name == "mixed") {
      mode.mixed_bytes = default_mixed_bytes;
    }
    for (const auto& [alias, meant] : aliases)
      if (name == alias) name = meant;
    auto known = take(buffer_rows, name, mode.buffer, buffer, "where the data is");
    if (known && !*known) known = take(delivery_rows, name, mode.delivery, delivery, "delivery");
    if (known && !*known) known = take(reap_rows, name, mode.reaping, reaping, "reaping");
    if (known && !*known)
      known = take(placement_rows, name, mode.placement, placement, "daemon placement");
    if (!known) return std::unexpected(known.error());
    if (!*known)
      return bad_input(formatted("unknown mode word '{}'", name),
                       "'ublkbench modes' lists them: " + joined(mode_words()));
    return {};
  }
};

}  // namespace

std::string Mode::name() const {
  std::string words;
  const auto add = [&words](std::string_view word) {
    if (!words.empty()) words += ',';
    words += word;
  };
  if (delivery != DeliveryMode::per_io) add(delivers().name);
  if (reaping != ReapMode::interrupt) add(reaps().name);
  if (placement != PlacementMode::per_queue) add(places().name);
  if (buffers().sized)
    add(formatted("{}:{}", buffers().name, format_size(mixed_bytes)));
  else if (buffer != BufferMode::copy || words.empty())
    add(buffers().name);
  return words;
}

std::uint64_t Mode::flags() const {
  // A worker registers buffers that another task fetched.
  const bool off_daemon = buffer == BufferMode::zc && places().worker;
  return (off_daemon ? UBLK_F_BUF_REG_OFF_DAEMON : 0) | buffers().flags | delivers().flags |
         reaps().flags | places().flags;
}

const BufferTraits& Mode::buffers() const { return row_of(buffer_rows, buffer); }
const DeliveryTraits& Mode::delivers() const { return row_of(delivery_rows, delivery); }
const ReapTraits& Mode::reaps() const { return row_of(reap_rows, reaping); }
const PlacementTraits& Mode::places() const { return row_of(placement_rows, placement); }
bool Mode::plain() const {
  return reaping == ReapMode::interrupt && placement == PlacementMode::per_queue;
}

Result<Mode> parse_mode(std::string_view words) {
  Parser parser;
  for (const std::string& word : split(words, ','))
    if (auto taken = parser.word(word); !taken) return std::unexpected(taken.error());
  if (words.empty()) return bad_input("empty mode", "for instance --mode batch,auto_zc");
  return parser.mode;
}

std::vector<std::string> mode_words() {
  std::vector<std::string> words;
  for (const auto& row : buffer_rows)
    words.push_back(std::string(row.name) + (row.sized ? ":SIZE" : ""));
  for (const auto& row : delivery_rows) words.emplace_back(row.name);
  for (const auto& row : reap_rows) words.emplace_back(row.name);
  for (const auto& row : placement_rows) words.emplace_back(row.name);
  return words;
}

std::optional<std::string> refusal(const Mode& mode) {
  const bool batch = mode.delivers().batch;
  // ublk_drv.c, ublk_ctrl_add_dev: the flag is cleared without an error.
  if (batch && mode.buffer == BufferMode::get_data)
    return "the driver drops UBLK_F_NEED_GET_DATA when UBLK_F_BATCH_IO is set";
  if (batch && mode.places().spreads_tags)
    return "the driver drops UBLK_F_PER_IO_DAEMON when UBLK_F_BATCH_IO is set; batch commands are "
           "not bound to a task anyway";
  // io_buffer_register_request(): into the table of the ring that the io command came from.
  const bool registered_for_us = mode.buffers().registered_by_driver;
  if (registered_for_us && mode.places().worker)
    return "the driver registers buffers with the ring that fetches, which the task that does the "
           "I/O cannot use; zc registers with any ring";
  if (registered_for_us && mode.reaps().polls_apart)
    return "the driver registers buffers with the ring that fetches, and the ring that polls is "
           "another; zc registers with any ring";
  return std::nullopt;
}

std::optional<std::string> unserved(const Mode& mode) {
  if (mode.places().worker && mode.reaps().polls)
    return "the worker of offload sleeps in its ring until it is woken, and a ring that polls "
           "never sleeps";
  return std::nullopt;
}

std::string missing(const Mode& mode, const control::KernelAbilities& kernel) {
  std::string features;
  for (const Feature& known : all_features()) {
    if ((mode.flags() & ~kernel.features & known.flag) == 0) continue;
    if (!features.empty()) features += ", ";
    features += formatted("{} (first in Linux {})", known.name, known.first_kernel);
  }
  if (!features.empty()) return "this kernel does not grant " + features;
  if (mode.reaps().polls && !mode.reaps().polls_apart && !kernel.commands_on_polling_rings)
    return "this kernel takes no io commands on a ring that polls (Linux 7.3 does)";
  return {};
}

Result<> usable(const Mode& mode, const control::KernelAbilities& kernel) {
  if (const auto why = refusal(mode))
    return bad_input(formatted("mode '{}' is not possible: {}", mode.name(), *why));
  if (const auto why = unserved(mode))
    return unsupported(formatted("mode '{}' is not available: {}", mode.name(), *why));
  if (const std::string why = missing(mode, kernel); !why.empty())
    return unsupported(formatted("mode '{}' is not available: {}", mode.name(), why));
  return {};
}

std::vector<Mode> all_modes() {
  std::vector<Mode> modes;
  for (std::size_t placement = 0; placement < placement_rows.size(); ++placement)
    for (std::size_t reaping = 0; reaping < reap_rows.size(); ++reaping)
      for (std::size_t delivery = 0; delivery < delivery_rows.size(); ++delivery)
        for (std::size_t buffer = 0; buffer < buffer_rows.size(); ++buffer)
          modes.push_back({.buffer = static_cast<BufferMode>(buffer),
                           .delivery = static_cast<DeliveryMode>(delivery),
                           .reaping = static_cast<ReapMode>(reaping),
                           .placement = static_cast<PlacementMode>(placement),
                           .mixed_bytes = buffer_rows[buffer].sized ? default_mixed_bytes : 0});
  return modes;
}

}  // namespace ublkbench

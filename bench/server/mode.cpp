// SPDX-License-Identifier: MIT
#include "bench/server/mode.hpp"

#include <algorithm>
#include <array>
#include <format>

#include "bench/base/units.hpp"
#include "bench/control/features.hpp"

namespace ublkbench {
namespace {

template <class T>
struct Word {
  std::string_view name;
  T value;
  std::uint64_t flags;
};

// First row of each value is its canonical name.
constexpr std::array buffer_words{
    Word{"copy", BufferMode::copy, 0},
    Word{"get_data", BufferMode::get_data, UBLK_F_NEED_GET_DATA},
    Word{"user_copy", BufferMode::user_copy, UBLK_F_USER_COPY},
    Word{"zc", BufferMode::zc, UBLK_F_SUPPORT_ZERO_COPY},
    Word{"auto_zc", BufferMode::auto_zc, UBLK_F_AUTO_BUF_REG},
    Word{"shmem_zc", BufferMode::shmem_zc, UBLK_F_SHMEM_ZC},
    Word{"mixed", BufferMode::mixed, UBLK_F_USER_COPY | UBLK_F_AUTO_BUF_REG},
    Word{"zero_copy", BufferMode::zc, UBLK_F_SUPPORT_ZERO_COPY},
    Word{"auto_reg", BufferMode::auto_zc, UBLK_F_AUTO_BUF_REG},
    Word{"auto_buf_reg", BufferMode::auto_zc, UBLK_F_AUTO_BUF_REG},
};
constexpr std::array delivery_words{
    Word{"per_io", DeliveryMode::per_io, 0},
    Word{"batch", DeliveryMode::batch, UBLK_F_BATCH_IO},
};
constexpr std::array reap_words{
    Word{"interrupt", ReapMode::interrupt, 0},
    Word{"iopoll", ReapMode::iopoll, 0},
    Word{"iopoll_split", ReapMode::iopoll_split, 0},
};
constexpr std::array placement_words{
    Word{"per_queue", PlacementMode::per_queue, 0},
    Word{"per_io_daemon", PlacementMode::per_io_daemon, UBLK_F_PER_IO_DAEMON},
    Word{"offload", PlacementMode::offload, 0},
};

constexpr std::uint32_t default_mixed_bytes = 64 << 10;

template <class Table, class T>
const auto& row_of(const Table& table, T value) {
  return *std::ranges::find(table, value, [](const auto& word) { return word.value; });
}

/// Whether `word` is the first row of its value.
template <class Table, class T>
bool canonical(const Table& table, const Word<T>& word) {
  return &row_of(table, word.value) == &word;
}

/// Sets `field` when `name` is in `table`. A second word of the same axis is an error.
template <class Table, class T>
Result<bool> take(const Table& table, std::string_view name, T& field, bool& taken,
                  std::string_view axis) {
  const auto found = std::ranges::find(table, name, [](const auto& word) { return word.name; });
  if (found == table.end()) return false;
  if (taken && field != found->value)
    return bad_input(std::format("mode words '{}' and '{}' exclude each other: both say {}",
                                 row_of(table, field).name, name, axis));
  field = found->value;
  taken = true;
  return true;
}

/// The words that a user may say, aliases and what a silent axis means aside.
std::string vocabulary() {
  std::string words;
  const auto add = [&words](const auto& table, const auto& word) {
    if (!canonical(table, word)) return;
    if (!words.empty()) words += ", ";
    words += word.name;
    if (word.name == "mixed") words += ":SIZE";
  };
  for (const auto& word : buffer_words) add(buffer_words, word);
  for (const auto& word : delivery_words) add(delivery_words, word);
  for (const auto& word : reap_words) add(reap_words, word);
  for (const auto& word : placement_words) add(placement_words, word);
  return words;
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
    auto known = take(buffer_words, name, mode.buffer, buffer, "where the data is");
    if (known && !*known) known = take(delivery_words, name, mode.delivery, delivery, "delivery");
    if (known && !*known) known = take(reap_words, name, mode.reaping, reaping, "reaping");
    if (known && !*known)
      known = take(placement_words, name, mode.placement, placement, "daemon placement");
    if (!known) return std::unexpected(known.error());
    if (!*known)
      return bad_input(std::format("unknown mode word '{}'", name),
                       "'ublkbench modes' lists them: " + vocabulary());
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
  if (delivery != DeliveryMode::per_io) add(row_of(delivery_words, delivery).name);
  if (reaping != ReapMode::interrupt) add(row_of(reap_words, reaping).name);
  if (placement != PlacementMode::per_queue) add(row_of(placement_words, placement).name);
  if (buffer == BufferMode::mixed)
    add("mixed:" + format_size(mixed_bytes));
  else if (buffer != BufferMode::copy || words.empty())
    add(row_of(buffer_words, buffer).name);
  return words;
}

std::uint64_t Mode::flags() const {
  // A worker registers buffers that another task fetched.
  const bool off_daemon = buffer == BufferMode::zc && placement == PlacementMode::offload;
  return (off_daemon ? UBLK_F_BUF_REG_OFF_DAEMON : 0) | row_of(buffer_words, buffer).flags |
         row_of(delivery_words, delivery).flags | row_of(reap_words, reaping).flags |
         row_of(placement_words, placement).flags;
}

Result<Mode> parse_mode(std::string_view words) {
  Parser parser;
  for (const std::string& word : split(words, ','))
    if (auto taken = parser.word(word); !taken) return std::unexpected(taken.error());
  if (words.empty()) return bad_input("empty mode", "for instance --mode batch,auto_zc");
  return parser.mode;
}

std::optional<std::string> refusal(const Mode& mode) {
  const bool batch = mode.delivery == DeliveryMode::batch;
  // ublk_drv.c, ublk_ctrl_add_dev: the flag is cleared without an error.
  if (batch && mode.buffer == BufferMode::get_data)
    return "the driver drops UBLK_F_NEED_GET_DATA when UBLK_F_BATCH_IO is set";
  if (batch && mode.placement == PlacementMode::per_io_daemon)
    return "the driver drops UBLK_F_PER_IO_DAEMON when UBLK_F_BATCH_IO is set; batch commands are "
           "not bound to a task anyway";
  // io_buffer_register_request(): into the table of the ring that the io command came from.
  const bool registered_for_us =
      mode.buffer == BufferMode::auto_zc || mode.buffer == BufferMode::mixed;
  if (registered_for_us && mode.placement == PlacementMode::offload)
    return "the driver registers buffers with the ring that fetches, which the task that does the "
           "I/O cannot use; zc registers with any ring";
  if (registered_for_us && mode.reaping == ReapMode::iopoll_split)
    return "the driver registers buffers with the ring that fetches, and the ring that polls is "
           "another; zc registers with any ring";
  return std::nullopt;
}

std::optional<std::string> unserved(const Mode& mode) {
  if (mode.placement == PlacementMode::offload && mode.reaping != ReapMode::interrupt)
    return "the worker of offload sleeps in its ring until it is woken, and a ring that polls "
           "never sleeps";
  return std::nullopt;
}

std::string missing(const Mode& mode, const control::KernelAbilities& kernel) {
  std::string features;
  for (const Feature& known : all_features()) {
    if ((mode.flags() & ~kernel.features & known.flag) == 0) continue;
    if (!features.empty()) features += ", ";
    features += std::format("{} (first in Linux {})", known.name, known.first_kernel);
  }
  if (!features.empty()) return "this kernel does not grant " + features;
  if (mode.reaping == ReapMode::iopoll && !kernel.commands_on_polling_rings)
    return "this kernel takes no io commands on a ring that polls (Linux 7.3 does)";
  return {};
}

Result<> usable(const Mode& mode, const control::KernelAbilities& kernel) {
  if (const auto why = refusal(mode))
    return bad_input(std::format("mode '{}' is not possible: {}", mode.name(), *why));
  if (const auto why = unserved(mode))
    return unsupported(std::format("mode '{}' is not available: {}", mode.name(), *why));
  if (const std::string why = missing(mode, kernel); !why.empty())
    return unsupported(std::format("mode '{}' is not available: {}", mode.name(), why));
  return {};
}

std::vector<Mode> all_modes() {
  std::vector<Mode> modes;
  for (const auto& placement : placement_words)
    for (const auto& reaping : reap_words)
      for (const auto& delivery : delivery_words)
        for (const auto& buffer : buffer_words) {
          if (!canonical(buffer_words, buffer)) continue;
          const bool mixed = buffer.value == BufferMode::mixed;
          modes.push_back({.buffer = buffer.value,
                           .delivery = delivery.value,
                           .reaping = reaping.value,
                           .placement = placement.value,
                           .mixed_bytes = mixed ? default_mixed_bytes : 0});
        }
  return modes;
}

}  // namespace ublkbench

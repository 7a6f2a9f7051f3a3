// SPDX-License-Identifier: MIT
// The one vocabulary of modes: words, what the driver must grant for them, what it refuses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/control/control.hpp"

namespace ublkbench {

enum class BufferMode : std::uint8_t { copy, get_data, user_copy, zc, auto_zc, shmem_zc, mixed };
enum class DeliveryMode : std::uint8_t { per_io, batch };
enum class ReapMode : std::uint8_t { interrupt, iopoll, iopoll_split };
enum class PlacementMode : std::uint8_t { per_queue, per_io_daemon, offload };

// What the words mean: all that the rest of the server, the suite and the programs ask of a mode.
// The tables in mode.cpp have a row for each word; only make_*daemon.cpp, which pick code by a
// word, look at the word itself.

struct BufferTraits {
  std::string_view name;
  std::uint64_t flags = 0;            ///< UBLK_F_* that the driver must grant
  bool registered = false;            ///< the request's pages are in the ring's table
  bool registered_by_driver = false;  ///< with the ring that the io command came from
  bool own_buffers = false;           ///< the daemon has memory for each tag
  bool shared = false;                ///< the memory is the client's, too
  bool metadata = false;              ///< the driver hands integrity metadata over
  bool unprivileged = false;          ///< the driver trusts ordinary users with it
  bool zoned = false;                 ///< a data path for zoned devices is here
  bool zoned_in_driver = false;       ///< the driver takes UBLK_F_ZONED with it
  bool falls_back = false;            ///< a registration that failed can be made by hand
  bool sized = false;                 ///< it has a size: "mixed:64k"
};
struct DeliveryTraits {
  std::string_view name;
  std::uint64_t flags = 0;
  bool batch = false;
};
struct ReapTraits {
  std::string_view name;
  std::uint64_t flags = 0;
  bool polls = false;        ///< a ring of the daemon polls
  bool polls_apart = false;  ///< which is not the one that fetches
};
struct PlacementTraits {
  std::string_view name;
  std::uint64_t flags = 0;
  bool spreads_tags = false;  ///< tags of a queue may be different daemons'
  bool worker = false;        ///< a second task does the I/O
};

struct Mode {
  BufferMode buffer = BufferMode::copy;
  DeliveryMode delivery = DeliveryMode::per_io;
  ReapMode reaping = ReapMode::interrupt;
  PlacementMode placement = PlacementMode::per_queue;
  std::uint32_t mixed_bytes = 0;  ///< mixed: zero copy from this size up

  [[nodiscard]] const BufferTraits& buffers() const;
  [[nodiscard]] const DeliveryTraits& delivers() const;
  [[nodiscard]] const ReapTraits& reaps() const;
  [[nodiscard]] const PlacementTraits& places() const;
  /// Says nothing but where the data is and how it is delivered.
  [[nodiscard]] bool plain() const;

  /// The canonical words: "batch,auto_zc", "copy".
  [[nodiscard]] std::string name() const;
  /// UBLK_F_* that the driver must grant.
  [[nodiscard]] std::uint64_t flags() const;

  friend bool operator==(const Mode&, const Mode&) = default;
};

/// Parses "batch,auto_zc": at most one word an axis, '-' and '_' alike, aliases accepted. Only the
/// words are checked here; refusal() says whether the driver composes them.
Result<Mode> parse_mode(std::string_view words);

/// The words that a user may say, aliases and what a silent axis means aside: "copy", "mixed:SIZE".
std::vector<std::string> mode_words();

/// Why Linux 7.3's driver refuses or silently drops this combination; nothing when it composes.
std::optional<std::string> refusal(const Mode& mode);

/// Why this server cannot serve a mode that the driver would compose; nothing when it can.
std::optional<std::string> unserved(const Mode& mode);

/// What this kernel lacks for `mode`, with the first kernel that has it; empty when nothing.
std::string missing(const Mode& mode, const control::KernelAbilities& kernel);

/// Composes, is served here, and nothing is missing. Otherwise the reason.
Result<> usable(const Mode& mode, const control::KernelAbilities& kernel);

/// Every combination of the vocabulary, buffers first; mixed once, at 64 KiB.
std::vector<Mode> all_modes();

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// The 64 bits that an SQE hands to its CQE, and the one place that reads and writes them.
//
//   63      56 55      48 47            32 31                             0
//   [ owner  ] [  phase ] [    length     ] [            index             ]
//
// owner: who gets the completion. index: the owner's key: the io slot of a daemon for io commands
// and steps, the queue for fetch, prep and commit commands. length: free for the owner.
#pragma once

#include <cstdint>

namespace ublkbench {

enum class Owner : std::uint8_t {
  io_command = 0,  ///< FETCH_REQ / COMMIT_AND_FETCH_REQ; 0 so that the hot test is cheapest
  step,            ///< an SQE of a request's chain
  batch_fetch,     ///< FETCH_IO_CMDS
  batch_commit,    ///< COMMIT_IO_CMDS
  batch_prep,      ///< PREP_IO_CMDS
  target,          ///< an SQE of a target's lane that belongs to no request
  quiet,           ///< posts a completion only when it failed (IOSQE_CQE_SKIP_SUCCESS)
  wake,            ///< another task has something for this one
};

struct UserData {
  Owner owner;
  std::uint8_t phase;
  std::uint16_t length;
  std::uint32_t index;

  friend constexpr bool operator==(const UserData&, const UserData&) = default;
};

constexpr std::uint64_t encode(const UserData& data) {
  return static_cast<std::uint64_t>(data.owner) << 56 |
         static_cast<std::uint64_t>(data.phase) << 48 |
         static_cast<std::uint64_t>(data.length) << 32 | data.index;
}

constexpr std::uint64_t encode(Owner owner, std::uint32_t index) {
  return encode({.owner = owner, .phase = 0, .length = 0, .index = index});
}

constexpr UserData classify(std::uint64_t bits) {
  return {.owner = static_cast<Owner>(bits >> 56),
          .phase = static_cast<std::uint8_t>(bits >> 48),
          .length = static_cast<std::uint16_t>(bits >> 32),
          .index = static_cast<std::uint32_t>(bits)};
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// A slowdown of known size for the tests of the gate. It exists only in a build with
// -DUBLKBENCH_PLANT=ON (preset 'planted'); elsewhere this file compiles to nothing.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>

namespace ublkbench {

#ifdef UBLKBENCH_PLANT
/// UBLKBENCH_PLANTED_INSTRUCTIONS: how many more instructions the server spends on each request.
inline const std::uint64_t planted_count = [] {
  const char* const text = std::getenv("UBLKBENCH_PLANTED_INSTRUCTIONS");
  return text == nullptr ? 0 : std::strtoull(text, nullptr, 10);
}();

inline std::optional<std::uint64_t> planted_instructions() { return planted_count; }

inline void spend_planted_instructions() {
  // A turn is two instructions on x86-64: subtract, jump.
  for (std::uint64_t turns = planted_count / 2; turns != 0; --turns) asm volatile("" : "+r"(turns));
}
#else
inline std::optional<std::uint64_t> planted_instructions() { return std::nullopt; }
inline void spend_planted_instructions() {}
#endif

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// What a failed operation says, and the type that carries it. Errors are values: nothing here
// throws.
#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

#include "bench/base/format.hpp"

namespace ublkbench {

/// Exit codes of every program of the suite; README.md tells users.
enum class ExitCode : int {
  ok = 0,
  regression = 1,      ///< gate: confirmed
  usage = 2,           ///< bad option or bad input
  inconclusive = 3,    ///< gate: neither passed nor failed
  not_comparable = 4,  ///< gate, compare: the environments differ
  environment = 5,     ///< no driver, no permission, a feature that this kernel lacks
  io = 6,              ///< an I/O or data-verification error
  hang = 7,            ///< a hang was detected
  interrupted = 130    ///< Ctrl-C; devices were removed
};

/// One failure: the operation, the object it was applied to, the errno, and what the user can do.
struct Error {
  std::string operation;
  std::string object;
  int errnum = 0;    ///< errno of the failed call, 0 when no call failed
  std::string hint;  ///< what to do about it; empty when there is nothing to say
  ExitCode exit = ExitCode::environment;

  /// "open /dev/ublk-control: Permission denied; run as root"
  [[nodiscard]] std::string message() const {
    std::string text = operation;
    if (!object.empty()) text += ' ' + object;
    if (errnum != 0) text += formatted(": {}", std::strerror(errnum));
    if (!hint.empty()) text += "; " + hint;
    return text;
  }

  [[nodiscard]] Error with_hint(std::string text) const& {
    Error copy = *this;
    copy.hint = std::move(text);
    return copy;
  }
  [[nodiscard]] Error with_exit(ExitCode code) const& {
    Error copy = *this;
    copy.exit = code;
    return copy;
  }
};

template <class T = void>
using Result = std::expected<T, Error>;

/// An error from a failed system call; `errnum` as a positive errno.
inline std::unexpected<Error> failed(std::string_view operation, std::string_view object,
                                     int errnum, std::string_view hint = {}) {
  return std::unexpected(Error{.operation = std::string(operation),
                               .object = std::string(object),
                               .errnum = errnum,
                               .hint = std::string(hint)});
}

/// Bad input: the user's words are wrong; exits with ExitCode::usage.
inline std::unexpected<Error> bad_input(std::string_view what, std::string_view hint = {}) {
  return std::unexpected(Error{.operation = std::string(what),
                               .object = {},
                               .errnum = 0,
                               .hint = std::string(hint),
                               .exit = ExitCode::usage});
}

/// The environment cannot do it; exits with ExitCode::environment.
inline std::unexpected<Error> unsupported(std::string_view what, std::string_view hint = {}) {
  return std::unexpected(Error{.operation = std::string(what),
                               .object = {},
                               .errnum = 0,
                               .hint = std::string(hint),
                               .exit = ExitCode::environment});
}

}  // namespace ublkbench

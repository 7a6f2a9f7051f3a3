// SPDX-License-Identifier: MIT
// A file of JSON in pieces that a parser takes one by one. A record of 10,000 cells has 400 MB of
// samples, and a parser that gets it as a whole makes 600 MB more of it; a piece at a time stays in
// the cache.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::analyzers {

class JsonStream {
 public:
  /// Errors are ExitCode::usage.
  static Result<JsonStream> open(const std::string& path);

  /// The next byte that is no white space; 0 at the end.
  char peek();
  /// Goes past it if it is `expected`.
  bool take(char expected);

  /// The text of the next value, whole up to its last bracket; what is inside is not checked. Empty
  /// where there is none or where it is cut off. It is valid until the next call, and a parser may
  /// read `padding` bytes behind it.
  std::string_view value();

  /// The next line without its newline; nothing at the end. `ended` says whether it had one.
  std::string_view line(bool& ended);

  [[nodiscard]] bool at_end() { return !available(0); }
  /// errno of a read that failed, else 0; what follows it looks like the end of the file.
  [[nodiscard]] int errnum() const { return errnum_; }

  static constexpr std::size_t padding = 64;

 private:
  explicit JsonStream(Fd fd) : fd_(std::move(fd)) {}
  /// Whether there is a byte so far from here; reads on if need be. Moves the text, so that a piece
  /// is one.
  bool available(std::size_t ahead);
  bool fill();
  [[nodiscard]] char byte(std::size_t ahead) const { return buffer_[from_ + ahead]; }
  std::size_t end_of_string(std::size_t ahead);
  std::size_t end_of_brackets();
  std::string_view piece(std::size_t length);

  Fd fd_;
  std::vector<char> buffer_;
  std::size_t from_ = 0;  ///< of what is not taken yet
  std::size_t to_ = 0;
  int errnum_ = 0;
  bool ended_ = false;
};

}  // namespace ublkbench::analyzers

// SPDX-License-Identifier: MIT
// One line on stderr about a long run: rewritten in place on a terminal, a line each elsewhere.
#pragma once

#include <cstdint>
#include <string>

namespace ublkbench {

class Progress {
 public:
  Progress(std::size_t total, std::uint64_t estimated_step_ns);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Before step `number` (from 1).
  void begin(std::size_t number, const std::string& what);
  /// After it; `outcome` for people.
  void end(const std::string& outcome);
  /// A line that stays, on a terminal too.
  void note(const std::string& text);

 private:
  std::size_t total_;
  std::uint64_t estimated_step_ns_;
  std::uint64_t start_ns_;
  std::size_t number_ = 0;
  std::size_t finished_ = 0;
  std::string what_;
  bool terminal_;
  bool open_line_ = false;
};

}  // namespace ublkbench

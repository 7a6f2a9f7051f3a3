// SPDX-License-Identifier: MIT
// Small files of /proc and /sys; nothing for what is not there or not readable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ublkbench {

class SystemFiles {
 public:
  explicit SystemFiles(std::string root) : root_(std::move(root)) {}

  [[nodiscard]] std::string path(std::string_view below) const {
    return root_ + std::string(below);
  }
  /// Whether it is there as far as this process can see.
  [[nodiscard]] bool exists(std::string_view path) const;
  /// The whole file; empty if it cannot be read.
  [[nodiscard]] std::string contents(std::string_view path) const;
  /// The file without white space at its ends; nothing if it is not there or empty.
  [[nodiscard]] std::optional<std::string> text(std::string_view path) const;
  /// The file as a whole number; nothing if it is none.
  [[nodiscard]] std::optional<std::int64_t> number(std::string_view path) const;
  /// The word in brackets of "none [mq-deadline] bfq", or the word in parentheses of "none (full)";
  /// the whole text if nothing is marked.
  [[nodiscard]] std::optional<std::string> chosen(std::string_view path) const;
  /// The value after "name :" in a file of such lines (the first that matches).
  [[nodiscard]] std::optional<std::string> field(std::string_view path,
                                                 std::string_view name) const;

 private:
  std::string root_;
};

/// The whole of it as a number.
std::optional<std::int64_t> whole_number(std::string_view text);

/// Without white space at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace ublkbench

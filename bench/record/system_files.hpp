// SPDX-License-Identifier: MIT
// Small files of /proc and /sys as JSON values; null for what is not there or not readable.
#pragma once

#include <nlohmann/json.hpp>
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
  /// The file without white space at its ends; null if it is not there or empty.
  [[nodiscard]] nlohmann::json text(std::string_view path) const;
  /// As an integer where it is one, else as text().
  [[nodiscard]] nlohmann::json value(std::string_view path) const;
  /// The word in brackets of "none [mq-deadline] bfq", or the word in parentheses of "none (full)";
  /// the whole text if nothing is marked.
  [[nodiscard]] nlohmann::json chosen(std::string_view path) const;
  /// The value after "name :" in a file of such lines (the first that matches); null without one.
  [[nodiscard]] nlohmann::json field(std::string_view path, std::string_view name) const;

 private:
  std::string root_;
};

/// Without white space at both ends.
std::string_view trimmed(std::string_view text);

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/record/system_files.hpp"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

namespace ublkbench {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank(" \t\r\n\0", 5);
  const auto from = text.find_first_not_of(blank);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(blank) - from + 1);
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool SystemFiles::exists(std::string_view path) const {
  std::error_code error;
  return std::filesystem::exists(this->path(path), error);
}

std::string SystemFiles::contents(std::string_view path) const {
  std::ifstream file(this->path(path), std::ios::binary);
  std::ostringstream all;
  all << file.rdbuf();
  return std::move(all).str();
}

std::optional<std::string> SystemFiles::text(std::string_view path) const {
  const std::string all = contents(path);
  const std::string_view text = trimmed(all);
  return text.empty() ? std::nullopt : std::optional(std::string(text));
}

std::optional<std::int64_t> SystemFiles::number(std::string_view path) const {
  return whole_number(text(path).value_or(""));
}

std::optional<std::string> SystemFiles::chosen(std::string_view path) const {
  const auto words = text(path);
  if (!words) return words;
  for (const auto& [open, close] : {std::pair{'[', ']'}, std::pair{'(', ')'}}) {
    const auto from = words->find(open);
    const auto to = words->find(close, from);
    if (from != std::string::npos && to != std::string::npos)
      return words->substr(from + 1, to - from - 1);
  }
  return words;
}

std::optional<std::string> SystemFiles::field(std::string_view path, std::string_view name) const {
  std::istringstream lines(contents(path));
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || trimmed(std::string_view(line).substr(0, colon)) != name)
      continue;
    return std::string(trimmed(std::string_view(line).substr(colon + 1)));
  }
  return std::nullopt;
}

}  // namespace ublkbench

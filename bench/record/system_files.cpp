// SPDX-License-Identifier: MIT
#include "bench/record/system_files.hpp"

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ublkbench {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank(" \t\r\n\0", 5);
  const auto from = text.find_first_not_of(blank);
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(blank) - from + 1);
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

nlohmann::json SystemFiles::text(std::string_view path) const {
  const std::string all = contents(path);
  const std::string_view text = trimmed(all);
  return text.empty() ? nlohmann::json() : nlohmann::json(std::string(text));
}

nlohmann::json SystemFiles::value(std::string_view path) const {
  nlohmann::json found = text(path);
  if (found.is_null()) return found;
  const auto& word = found.get_ref<const std::string&>();
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  if (error != std::errc{} || end != word.data() + word.size()) return found;
  return number;
}

nlohmann::json SystemFiles::chosen(std::string_view path) const {
  nlohmann::json found = text(path);
  if (found.is_null()) return found;
  const auto& words = found.get_ref<const std::string&>();
  for (const auto& [open, close] : {std::pair{'[', ']'}, std::pair{'(', ')'}}) {
    const auto from = words.find(open);
    const auto to = words.find(close, from);
    if (from != std::string::npos && to != std::string::npos)
      return words.substr(from + 1, to - from - 1);
  }
  return found;
}

nlohmann::json SystemFiles::field(std::string_view path, std::string_view name) const {
  std::istringstream lines(contents(path));
  for (std::string line; std::getline(lines, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos || trimmed(std::string_view(line).substr(0, colon)) != name)
      continue;
    return std::string(trimmed(std::string_view(line).substr(colon + 1)));
  }
  return nullptr;
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// Files of /proc and /sys whose first line is all.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace ublkbench {

/// Empty where it cannot be read.
inline std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

}  // namespace ublkbench

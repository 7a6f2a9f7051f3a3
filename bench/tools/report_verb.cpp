// SPDX-License-Identifier: MIT
#include "bench/tools/report_verb.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "bench/suite/program.hpp"
#include "bench/tools/output.hpp"

namespace ublkbench {

int run_report(const std::vector<std::string>& words) {
  const std::string program = find_program("ublk-report");
  if (program.empty())
    return report(
        failed("find", "ublk-report", ENOENT, "put it beside ublkbench or into a folder of $PATH")
            .error());
  // ublk-report --compare asks this program for its verdicts.
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) ::setenv("UBLKBENCH", self.c_str(), 0);
  std::vector<char*> arguments{const_cast<char*>(program.c_str())};
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  return report(failed("run", program, errno, "it needs Python 3").error());
}

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/report_verb.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "bench/process/program.hpp"
#include "bench/tools/ublkbench/output.hpp"

namespace ublkbench {

int run_report(const std::vector<std::string>& words) {
  const std::string program = process::find_program("ublk-report");
  if (program.empty())
    return report(
        failed("find", "ublk-report", ENOENT, "put it beside ublkbench or into a folder of $PATH")
            .error());
  // ublk-report --compare asks this program for its verdicts.
  if (const std::string self = process::own_path(); !self.empty())
    ::setenv("UBLKBENCH", self.c_str(), 0);
  std::vector<char*> arguments{const_cast<char*>(program.c_str())};
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  return report(failed("run", program, errno, "it needs Python 3").error());
}

}  // namespace ublkbench

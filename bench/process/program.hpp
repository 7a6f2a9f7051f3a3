// SPDX-License-Identifier: MIT
// Another program, run within a bound, with what it says caught.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/base/fd.hpp"
#include "bench/base/result.hpp"

namespace ublkbench::process {

/// What a program writes: an unnamed file, which never fills up as a pipe does, and which nobody
/// waits for the end of.
class OutputFile {
 public:
  static Result<OutputFile> create(const char* name);
  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::string contents() const;

 private:
  explicit OutputFile(Fd file) : file_(std::move(file)) {}
  Fd file_;
};

struct ProgramOutput {
  int exit_code = 0;  ///< 128 + N when signal N ended it
  std::string out;
  std::string err;
};

/// Runs argv[0], a path, with /dev/null as its input. It is killed when it has not ended within
/// `timeout_ns` (ETIMEDOUT), or when this process is interrupted; one that has something to
/// clean up is told with SIGTERM, and killed only after `grace_ns`.
Result<ProgramOutput> run_program(const std::vector<std::string>& argv, std::uint64_t timeout_ns,
                                  std::uint64_t grace_ns = 0);

/// This program's own path; empty where /proc does not say.
std::string own_path();

/// The path of a program of the suite: beside this one, else in $PATH; empty if it is in neither.
std::string find_program(const std::string& name);

}  // namespace ublkbench::process

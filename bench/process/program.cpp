// SPDX-License-Identifier: MIT
#include "bench/process/program.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "bench/base/units.hpp"
#include "bench/process/child.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/wait.hpp"

namespace ublkbench::process {

Result<OutputFile> OutputFile::create(const char* name) {
  Fd file(::memfd_create(name, MFD_CLOEXEC));
  if (!file.valid()) return failed("memfd_create", name, errno);
  return OutputFile(std::move(file));
}

std::string OutputFile::contents() const {
  std::string text;
  std::array<char, 65536> part;
  for (;;) {
    const ssize_t count =
        ::pread(file_.get(), part.data(), part.size(), static_cast<off_t>(text.size()));
    if (count <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(count));
  }
}

Result<ProgramOutput> run_program(const std::vector<std::string>& argv, std::uint64_t timeout_ns,
                                  std::uint64_t grace_ns) {
  auto out = OutputFile::create("stdout");
  if (!out) return std::unexpected(out.error());
  auto err = OutputFile::create("stderr");
  if (!err) return std::unexpected(err.error());
  auto child = Child::start_program(
      {.what = argv[0], .streams = {-1, out->fd(), err->fd()}, .signals = Signals::standard}, argv);
  if (!child) return std::unexpected(child.error());
  const auto status = child->wait(deadline_after(timeout_ns));
  if (!status) {
    if (grace_ns != 0) {
      const Uninterrupted while_it_cleans_up;
      child->signal(SIGTERM);
      (void)child->wait(deadline_after(grace_ns));
    }
    if (status.error().exit == ExitCode::interrupted) return std::unexpected(status.error());
    return failed("run", argv[0], status.error().errnum,
                  "it did not end within " + format_ns(static_cast<double>(timeout_ns)));
  }
  ProgramOutput output{
      .exit_code = exit_code(*status), .out = out->contents(), .err = err->contents()};
  if (output.exit_code == cannot_execute) return failed("run", argv[0], 0, "it cannot be executed");
  return output;
}

std::string own_path() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

std::string find_program(const std::string& name) {
  const auto beside = std::filesystem::path(own_path()).parent_path() / name;
  if (beside.has_parent_path() && ::access(beside.c_str(), X_OK) == 0) return beside;
  const char* const path = std::getenv("PATH");
  for (const std::string& folder : split(path != nullptr ? path : "", ':'))
    if (!folder.empty() && ::access((folder + '/' + name).c_str(), X_OK) == 0)
      return folder + '/' + name;
  return {};
}

}  // namespace ublkbench::process

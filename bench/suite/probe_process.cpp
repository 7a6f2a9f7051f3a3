// SPDX-License-Identifier: MIT
#include "bench/suite/probe_process.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "bench/process/wait.hpp"
#include "bench/record/record_text.hpp"

namespace ublkbench {
namespace {

// The verifier takes its time under an emulator.
constexpr std::uint64_t attach_limit_ns = 120'000'000'000;
constexpr std::uint64_t end_limit_ns = 60'000'000'000;
// It has nothing to do but copy its counters.
constexpr std::uint64_t edge_limit_ns = 30'000'000'000;

}  // namespace

Result<ProbeProcess> ProbeProcess::start(int device, const std::string& probes) {
  const std::string program = process::find_program("ublk-probe");
  if (program.empty())
    return unsupported("ublk-probe is neither beside this program nor in $PATH", "build it");
  auto ready = process::make_pipe("for ublk-probe");
  if (!ready) return std::unexpected(ready.error());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return failed("socketpair", "for ublk-probe", errno);
  Fd edges(ends[0]);
  const Fd probes_edges(ends[1]);
  auto output = process::OutputFile::create("ublk-probe stdout");
  if (!output) return std::unexpected(output.error());
  auto errors = process::OutputFile::create("ublk-probe stderr");
  if (!errors) return std::unexpected(errors.error());
  const int ready_fd = ready->writer.get();
  const int edges_fd = probes_edges.get();
  // Ctrl-C ends the load first, then finish() ends this one.
  auto child = process::Child::start_program(
      {.what = "ublk-probe",
       .keep = {ready_fd, edges_fd},
       .streams = {-1, output->fd(), errors->fd()},
       .signals = process::Signals::standard,
       .signal_on_parents_end = SIGTERM,
       .own_group = true},
      {program, "--dev", std::to_string(device), "--probe", probes, "--json", "-", "--ready-fd",
       std::to_string(ready_fd), "--edges-fd", std::to_string(edges_fd)});
  if (!child) return std::unexpected(child.error());
  ready->writer.reset();  // so that the pipe ends with a process that did not attach
  ProbeProcess probe(std::move(*child), std::move(edges), std::move(*output), std::move(*errors));
  if (auto attached = probe.wait_until_attached(ready->reader.get()); !attached)
    return std::unexpected(attached.error());
  return probe;
}

Result<> ProbeProcess::wait_until_attached(int ready) {
  if (auto said = process::wait_readable(ready, "ublk-probe to attach",
                                         process::deadline_after(attach_limit_ns));
      !said)
    return said;
  char byte = 0;
  if (::read(ready, &byte, 1) == 1) return {};
  (void)wait_for_end();
  return std::unexpected(error_of_process("ublk-probe did not attach"));
}

Result<> ProbeProcess::mark(Edge edge) const {
  const char* const name = edge == Edge::begin ? "to mark the begin of the measured window"
                                               : "to mark the end of the measured window";
  const char byte = static_cast<char>(edge);
  if (::send(edges_.get(), &byte, 1, MSG_NOSIGNAL) != 1)
    return failed("ask ublk-probe", name, errno);
  if (auto said = process::wait_readable(edges_.get(), std::string("ublk-probe ") + name,
                                         process::deadline_after(edge_limit_ns));
      !said)
    return said;
  char answer = 0;
  if (::read(edges_.get(), &answer, 1) == 1 && answer == byte) return {};
  return failed("ask ublk-probe", name, ECONNRESET, "it ended");
}

Result<> ProbeProcess::wait_for_end() {
  const auto status = process_.wait(process::deadline_after(end_limit_ns));
  if (!status) return std::unexpected(status.error());
  if (process::exit_code(*status) == 0) return {};
  return std::unexpected(error_of_process("ublk-probe failed"));
}

/// Its own one line, without its name in front.
Error ProbeProcess::error_of_process(const char* what) {
  std::string line = errors_.contents();
  while (line.ends_with('\n')) line.pop_back();
  line = line.substr(line.rfind('\n') == std::string::npos ? 0 : line.rfind('\n') + 1);
  if (line.starts_with("ublk-probe: ")) line.erase(0, 12);
  if (line.empty()) line = "it said nothing";
  return unsupported(what, line).error();
}

Result<ProbeRecord> ProbeProcess::finish() {
  process_.signal(SIGINT);
  if (auto ended = wait_for_end(); !ended) return std::unexpected(ended.error());
  auto record = record_of_text<probed::Document>(output_.contents(), "the record of ublk-probe");
  if (!record) return std::unexpected(record.error());
  ProbeRecord probed{.record = {},
                     .text = std::exchange(record->text, std::nullopt),
                     .brief = std::exchange(record->brief, std::nullopt),
                     .server = {}};
  probed.record = std::move(*record);
  return probed;
}

}  // namespace ublkbench

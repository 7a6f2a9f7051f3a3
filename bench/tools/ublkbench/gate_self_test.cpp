// SPDX-License-Identifier: MIT
#include "bench/tools/ublkbench/gate_self_test.hpp"

#include <stdlib.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench/base/atomic_file.hpp"
#include "bench/base/format.hpp"
#include "bench/base/json_text.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/process/interrupt.hpp"
#include "bench/process/program.hpp"
#include "bench/suite/usage.hpp"
#include "bench/tools/ublkbench/output.hpp"
#include "bench/tools/ublkbench/sitting.hpp"

namespace ublkbench {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using process::own_path;
using Paths = std::vector<std::string>;

constexpr unsigned boots = 3;
constexpr std::uint64_t timeout_ns = 600'000'000'000;
constexpr std::uint64_t self_test_grace_ns = 15'000'000'000;
constexpr const char* target = "null";
/// Each I/O waits in a timeout of io_uring: some thousand instructions and some microseconds more,
/// in a program that has no planted ones.
constexpr const char* slower = "null+fault:delay=1us";

int worst(int so_far, bool good) { return good ? so_far : 1; }

bool tell(std::string_view what, int code, int expected, const std::string& output) {
  print_line("{} {}: exit {}", code == expected ? "ok " : "BAD", what, code);
  if (code != expected) print_line("    {} expected\n{}", expected, output);
  std::fflush(stdout);
  return code == expected;
}

/// The path-length gate, whose guests are rounds here: this is about verdicts, not about boots.
class PathSelfTest {
 public:
  explicit PathSelfTest(std::string folder) : folder_(std::move(folder)) {}

  Result<int> run() {
    const auto first = measure("first", target);
    if (!first) return std::unexpected(first.error());
    const auto again = measure("again", target);
    if (!again) return std::unexpected(again.error());
    const auto slow = measure("slower", slower);
    if (!slow) return std::unexpected(slow.error());
    // A baseline of changes that are in no commit is refused; this one is thrown away.
    const Paths committed = changed(*first, "committed", [](json& record) {
      record["run"]["tool"]["dirty"] = false;
      record["run"]["tool"]["commit"] = "self-test";
      record["run"].erase("planted_instructions");
    });
    std::vector<std::string> accept{own_path(), "baseline", "accept", baseline()};
    accept.insert(accept.end(), committed.begin(), committed.end());
    accept.insert(accept.end(), {"--reason", "self-test"});
    if (const auto done = process::run_program(accept, timeout_ns); !done || done->exit_code != 0)
      return done ? bad_input("baseline accept: " + done->err) : std::unexpected(done.error());
    return judge(*again, *slow);
  }

 private:
  [[nodiscard]] std::string baseline() const { return folder_ + "/baseline.json"; }

  Result<Paths> measure(const std::string& name, const char* of_target) {
    Paths paths;
    for (unsigned seed = 1; seed <= boots; ++seed) {
      const std::string path = formatted("{}/{}{}.json", folder_, name, seed);
      const auto done =
          process::run_program({own_path(), "run",      "--mode",   "copy",   "--target",
                                of_target,  "--qd",     "128",      "--ios",  "8k",
                                "--repeat", "1",        "--verify", "off",    "--control",
                                "null_blk", "--format", "csv",      "--seed", std::to_string(seed),
                                "--json",   path},
                               timeout_ns, self_test_grace_ns);
      if (!done) return std::unexpected(done.error());
      if (done->exit_code != 0)
        return std::unexpected(Error{.operation = "measure " + name + ": " + done->err,
                                     .object = {},
                                     .errnum = 0,
                                     .hint = {},
                                     .exit = static_cast<ExitCode>(done->exit_code)});
      paths.push_back(path);
    }
    return paths;
  }

  /// Copies of records, edited.
  Paths changed(const Paths& paths, const std::string& name,
                const std::function<void(json&)>& change) {
    Paths copies;
    for (const std::string& path : paths) {
      std::ifstream file(path);
      json document = json::parse(file);
      change(document);
      copies.push_back(formatted("{}/{}{}.json", folder_, name, copies.size()));
      (void)write_file_atomically(copies.back(), json_text(document));
    }
    return copies;
  }

  Paths cut_off(const std::string& path) {
    std::ifstream file(path);
    std::string text(std::istreambuf_iterator<char>(file), {});
    text.resize(text.size() - 100);
    const std::string broken = folder_ + "/broken.json";
    (void)write_file_atomically(broken, text);
    return {broken};
  }

  int judge(const Paths& again, const Paths& slow) {
    struct Check {
      const char* what;
      ExitCode expected;
      Paths records;
    };
    // The cell of the slower server goes under the name of the one that it stands for.
    const auto rename = [](json& record) {
      const auto replace = [](json& text) {
        std::string words = text;
        if (const auto at = words.find(slower); at != std::string::npos)
          text = words.replace(at, std::string_view(slower).size(), target);
      };
      for (json& cell : record["cells"]) replace(cell["target"]), replace(cell["id"]);
      for (json& sample : record["samples"]) replace(sample["cell"]);
    };
    const Check checks[] = {
        {"the same again passes", ExitCode::ok, again},
        {"a delay in the server is a regression", ExitCode::regression,
         changed(slow, "renamed", rename)},
        {"a record that is cut off is bad input", ExitCode::usage, cut_off(again.front())},
        {"records without samples are inconclusive", ExitCode::inconclusive,
         changed(again, "empty", [](json& record) { record["samples"] = json::array(); })},
        {"another kernel is not comparable", ExitCode::not_comparable,
         changed(again, "kernel",
                 [](json& record) { record["env"]["key_fields"]["kernel"]["release"] = "0.0"; })}};
    int code = 0;
    for (const Check& check : checks) {
      std::vector<std::string> argv{own_path(), "gate", "--baseline", baseline()};
      argv.insert(argv.end(), check.records.begin(), check.records.end());
      const auto done = process::run_program(argv, timeout_ns);
      code = worst(code,
                   tell(check.what, done ? done->exit_code : -1, static_cast<int>(check.expected),
                        done ? done->out + done->err : done.error().message()));
    }
    return code;
  }

  std::string folder_;
};

/// The hardware gate, this program against itself.
Result<int> test_on_hardware() {
  constexpr const char* words[] = {"--mode", "copy", "--qd", "32"};
  SittingOptions options{.before = {.program = own_path(), .instead_of_target = {}, .target = {}},
                         .now = {.program = own_path(), .instead_of_target = {}, .target = {}},
                         .words = {std::begin(words), std::end(words)},
                         .pairs = 6,
                         .sample_ns = 300'000'000,
                         .folder = {},
                         .gate = {}};
  int code = 0;
  for (const auto& [what, expected] :
       {std::pair{"the same again passes", analyzers::GateVerdict::pass},
        std::pair{"a delay in the server is a regression", analyzers::GateVerdict::regression}}) {
    if (expected == analyzers::GateVerdict::regression)
      options.now.instead_of_target = target, options.now.target = slower;
    const auto outcome = hold_sitting(options);
    if (!outcome) return std::unexpected(outcome.error());
    if (outcome->verdict == analyzers::GateVerdict::inconclusive) {
      print(analyzers::gate_text(*outcome));
      return static_cast<int>(ExitCode::inconclusive);
    }
    code = worst(code, tell(what, static_cast<int>(exit_of(outcome->verdict)),
                            static_cast<int>(exit_of(expected)), analyzers::gate_text(*outcome)));
  }
  return code;
}

Result<int> test_path_length() {
  std::error_code error;
  std::string folder = (fs::temp_directory_path(error) / "ublkbench-self-test.XXXXXX").string();
  if (error || ::mkdtemp(folder.data()) == nullptr) return failed("mkdtemp", folder, errno);
  auto code = PathSelfTest(folder).run();
  fs::remove_all(folder, error);
  return code;
}

}  // namespace

int run_gate_self_test() {
  process::handle_interrupts();
  const auto code = icount_shift() ? test_path_length() : test_on_hardware();
  return code ? *code : report(code.error());
}

}  // namespace ublkbench

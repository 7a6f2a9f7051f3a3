// SPDX-License-Identifier: MIT
// ublk-server: the reference server by itself.
#include <CLI/CLI.hpp>

#include "bench/base/entry.hpp"
#include "bench/base/standard_streams.hpp"
#include "bench/cli/help_formatter.hpp"
#include "bench/cli/print_options.hpp"
#include "bench/record/tool_identity.hpp"
#include "bench/server/mode.hpp"
#include "bench/targets/target.hpp"
#include "bench/tools/ublk_server/server_verbs.hpp"

namespace ublkbench {

int report(const Error& error) {
  say("ublk-server: {}", error.message());
  return static_cast<int>(error.exit);
}

int report(const Result<>& result) {
  return result ? static_cast<int>(ExitCode::ok) : report(result.error());
}

namespace {

int run(int argc, char** argv) {
  CLI::App app{"The reference ublk server: creates, serves and removes ublk block devices.",
               "ublk-server"};
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_version_flag("--version", version_text());
  add_print_options(app, {{"WORDS", mode_words()}, {"TARGET", target_forms()}});
  app.require_subcommand(1);
  int code = 0;
  add_serving_verbs(app, code);
  add_control_verbs(app, code);
  add_listing_verbs(app, code);
  // Last: verbs take it over from the program that they are added to.
  app.footer(
      "Exit codes: 0 done, 2 bad input, 5 it cannot be done here (no driver, no permission, a\n"
      "device in use, no answer within the bound), 130 interrupted.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return error.get_exit_code() == 0 ? app.exit(error)
                                      : (app.exit(error), static_cast<int>(ExitCode::usage));
  }
  return code;
}

}  // namespace
}  // namespace ublkbench

int main(int argc, char** argv) {
  return ublkbench::enter("ublk-server", argc, argv, [&] { return ublkbench::run(argc, argv); });
}

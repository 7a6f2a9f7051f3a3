// SPDX-License-Identifier: MIT
// A ublk server that misbehaves on request, so that ublk-dump's verdicts have a known truth. One
// queue, one thread.
//
//   bad_server serve [OPTION...]    add a device and serve it; prints 'ready N' when it is live
//   bad_server recover ID [OPTION...]
//   bad_server ctl COMMAND ID [DATA]  one control command, waited for without a bound; prints its
//   result
//
// It stands apart from bench/ on purpose: it does what that server must never do.
#include <linux/ublk_cmd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>

#include "tests/hanglab/server/control.hpp"
#include "tests/hanglab/server/server.hpp"

using namespace hanglab;

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  if (verb == "ctl" && argc >= 4)
    return control_verb(argv[2], std::stoi(argv[3]), argc > 4 ? std::stoull(argv[4]) : 0);
  const bool recovering = verb == "recover" && argc >= 3;
  if (verb != "serve" && !recovering)
    fail("usage: bad_server serve|recover ID|ctl COMMAND ID", EINVAL);
  Options options = parse(argc, argv, recovering ? 3 : 2);
  if (recovering) options.id = std::stoi(argv[2]);
  struct sigaction action{};
  action.sa_handler = [](int) { release_held = 1; };
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = [](int) { tell = 1; };
  sigaction(SIGUSR2, &action, nullptr);
  Server server(options);
  if (recovering)
    server.take_over();
  else
    server.add();
  std::printf("added %d\n", server.id());
  std::fflush(stdout);
  server.open_device();
  server.fetch_all();
  server.start(recovering ? UBLK_U_CMD_END_USER_RECOVERY : UBLK_U_CMD_START_DEV);
  server.serve();
}

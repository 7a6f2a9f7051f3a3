// SPDX-License-Identifier: MIT
// What the server is asked to do wrong.
#pragma once

#include <linux/ublk_cmd.h>

#include <cstdint>
#include <string>

namespace hanglab {

struct Options {
  int id = -1;
  unsigned depth = 4;
  std::uint64_t flags = UBLK_F_NO_AUTO_PART_SCAN;
  int hold = 0;        // this many requests are never committed; -1: all
  long delay_ms = 0;   // a slow target: commits after a timeout in the ring
  unsigned fetch = 0;  // fetch only so many tags; 0: all
  unsigned cq = 0;     // size of the completion queue
  std::string idle =
      "wait";  // once live: wait, nap (never reaps), spin, unsubmitted (commits are not submitted)
  std::string leak;   // commit with the buffer registered: own, second (ring), thread
  std::string keep;   // what a child keeps: fds (char device and ring), char, ring, map (of the io
                      // descriptors)
  std::string batch;  // fetch command: ok, none, starved
  bool register_only = false;  // register the buffer and hold the request
  bool store = false;          // keep what is written, for a file system
  std::string self;  // what the daemon does to its own disk at the first request: read, open
  bool defer = true;
};

/// The words from `first` on; a wrong one ends the program.
Options parse(int argc, char** argv, int first);

/// Says what failed and ends the program.
[[noreturn]] void fail(const char* what, int error);

}  // namespace hanglab

// SPDX-License-Identifier: MIT

#include <unistd.h>

#include <cstdio>
#include <string_view>

#include "pipe.hpp"

int main(int argc, char** argv) {
  if (getpid() == 1) return vm::run_init();
  if (argc > 2 && std::string_view(argv[1]) == "host") return vm::run_host(argc - 1, argv + 1);
  std::fputs("usage: vm-pipe host -r RESULT -l LOG [-b BOOT_SECONDS] [-t SECONDS] [-i] -- CMD...\n",
             stderr);
  return 64;
}

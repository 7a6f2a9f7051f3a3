// SPDX-License-Identifier: MIT
#include "tests/hanglab/server/options.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

namespace hanglab {

namespace {

std::uint64_t flag_bits(const std::string& words) {
  static const std::map<std::string, std::uint64_t> known = {
      {"zc", UBLK_F_SUPPORT_ZERO_COPY},
      {"user_copy", UBLK_F_USER_COPY},
      {"recovery", UBLK_F_USER_RECOVERY},
      {"reissue", UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE},
      {"auto_zc", UBLK_F_AUTO_BUF_REG},
      {"fail_io", UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_FAIL_IO},
      {"quiesce", UBLK_F_QUIESCE},
      {"batch", UBLK_F_BATCH_IO},
      {"part_scan", 0},
      {"off_daemon", UBLK_F_BUF_REG_OFF_DAEMON}};
  std::uint64_t bits = words.find("part_scan") == std::string::npos ? UBLK_F_NO_AUTO_PART_SCAN : 0;
  for (std::size_t start = 0; start < words.size();) {
    const std::size_t end = std::min(words.find(',', start), words.size());
    const auto found = known.find(words.substr(start, end - start));
    if (found == known.end()) fail("unknown word in --flags", EINVAL);
    bits |= found->second;
    start = end + 1;
  }
  return bits;
}

}  // namespace

[[noreturn]] void fail(const char* what, int error) {
  std::fprintf(stderr, "bad_server: %s: %s\n", what, std::strerror(error < 0 ? -error : error));
  std::exit(1);
}

Options parse(int argc, char** argv, int first) {
  Options options;
  for (int i = first; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string { return i + 1 < argc ? argv[++i] : ""; };
    if (name == "--id")
      options.id = std::stoi(value());
    else if (name == "--depth")
      options.depth = static_cast<unsigned>(std::stoul(value()));
    else if (name == "--flags")
      options.flags = flag_bits(value());
    else if (name == "--hold")
      options.hold = std::stoi(value());
    else if (name == "--delay-ms")
      options.delay_ms = std::stol(value());
    else if (name == "--fetch")
      options.fetch = static_cast<unsigned>(std::stoul(value()));
    else if (name == "--cq")
      options.cq = static_cast<unsigned>(std::stoul(value()));
    else if (name == "--idle")
      options.idle = value();
    else if (name == "--leak")
      options.leak = value();
    else if (name == "--keep")
      options.keep = value();
    else if (name == "--batch")
      options.batch = value();
    else if (name == "--register-only")
      options.register_only = true;
    else if (name == "--store")
      options.store = true;
    else if (name == "--self")
      options.self = value();
    else if (name == "--no-defer")
      options.defer = false;
    else
      fail(name.c_str(), EINVAL);
  }
  return options;
}

}  // namespace hanglab

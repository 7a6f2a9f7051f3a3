// SPDX-License-Identifier: MIT
// ADD_DEV, SET_PARAMS as they are, DEL_DEV: what the driver says of parameters that ublk-server
// itself would never send. For the kernel's params_01 selftest; options are NAME=VALUE.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <print>
#include <string>

#include "bench/control/control.hpp"
#include "bench/control/removal.hpp"

using namespace ublkbench;

namespace {

using Options = std::map<std::string, std::string>;

Options options_of(int argc, char** argv) {
  Options options;
  for (int index = 1; index < argc; ++index) {
    const std::string word = argv[index];
    const auto equals = word.find('=');
    options[word.substr(0, equals)] =
        equals == std::string::npos ? std::string() : word.substr(equals + 1);
  }
  return options;
}

template <class T>
T number(const Options& options, const std::string& name, T otherwise) {
  const auto found = options.find(name);
  if (found == options.end()) return otherwise;
  return static_cast<T>(std::strtoull(found->second.c_str(), nullptr, 0));
}

ublk_params params_of(const Options& options) {
  ublk_params params{};
  const auto types = options.find("param_types");
  const std::string wanted = types == options.end() ? "basic" : types->second;
  if (wanted.find("basic") != std::string::npos) params.types |= UBLK_PARAM_TYPE_BASIC;
  if (wanted.find("zoned") != std::string::npos) params.types |= UBLK_PARAM_TYPE_ZONED;
  params.basic.logical_bs_shift = number<__u8>(options, "logical_bs_shift", 9);
  params.basic.physical_bs_shift = number<__u8>(options, "physical_bs_shift", 12);
  params.basic.io_min_shift = number<__u8>(options, "io_min_shift", 9);
  params.basic.io_opt_shift = number<__u8>(options, "io_opt_shift", 12);
  params.basic.max_sectors = number<__u32>(options, "max_sectors", (1U << 20) >> 9);
  params.basic.chunk_sectors = number<__u32>(options, "chunk_sectors", 128);
  params.basic.dev_sectors = number<__u64>(options, "dev_sectors", 128 * 16);
  params.zoned.max_zone_append_sectors = number<__u32>(options, "max_zone_append_sectors", 128);
  params.zoned.max_open_zones = number<__u32>(options, "max_open_zones", 0);
  params.zoned.max_active_zones = number<__u32>(options, "max_active_zones", 0);
  return params;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = options_of(argc, argv);
  const std::uint64_t flags = (options.contains("user_copy") ? UBLK_F_USER_COPY : 0ULL) |
                              (options.contains("zoned") ? UBLK_F_ZONED : 0ULL);
  const auto device = control::add({.queues = number<std::uint16_t>(options, "queues", 2),
                                    .depth = number<std::uint16_t>(options, "depth", 128),
                                    .flags = flags});
  if (!device) {
    std::println(stderr, "set-params: {}", device.error().message());
    return 2;
  }
  const auto set = control::set_params(static_cast<int>(device->dev_id), params_of(options));
  std::println("SET_PARAMS: {}", set ? "accepted" : set.error().message());
  const auto removed = control::remove(static_cast<int>(device->dev_id));
  return set && removed ? 0 : 1;
}

// SPDX-License-Identifier: MIT
#include "bench/tools/options/device_cli.hpp"

#include <map>
#include <optional>
#include <string>

#include "bench/base/units.hpp"

namespace ublkbench {
namespace {

constexpr const char* limits_group = "The block device";
constexpr const char* metadata_group = "Metadata of each block (mode user_copy, Linux 7.0)";

void add_size(CLI::App& app, const char* name, std::optional<std::uint64_t>& field,
              const char* help) {
  app.add_option_function<std::string>(
         name, [&field](const std::string& text) { field = parse_size(text).value_or(0); }, help)
      ->check([](const std::string& text) {
        const auto size = parse_size(text);
        return size ? std::string() : size.error().message();
      })
      ->type_name("SIZE")
      ->group(limits_group);
}

void add_switch(CLI::App& app, const char* name, std::optional<bool>& field, const char* help) {
  app.add_option_function<std::string>(
         name, [&field](const std::string& text) { field = text == "on"; }, help)
      ->check(CLI::IsMember({"on", "off"}))
      ->type_name("on|off")
      ->group(limits_group);
}

void add_block_options(CLI::App& app, DeviceOptions& options) {
  add_size(app, "--size", options.bytes, "Capacity, if less than the target's");
  add_size(app, "--logical-block", options.logical_block_bytes, "Smallest I/O, 512 to 4k");
  add_size(app, "--physical-block", options.physical_block_bytes, "I/O without read-modify-write");
  add_size(app, "--io-min", options.io_min_bytes, "Preferred granularity of I/O");
  add_size(app, "--io-opt", options.io_opt_bytes, "Preferred size of I/O");
  add_size(app, "--max-request", options.max_request_bytes, "Largest request, up to --max-io");
  add_size(app, "--chunk", options.chunk_bytes, "No request crosses a multiple of this");
  add_size(app, "--virtual-boundary", options.virtual_boundary_bytes,
           "Only a request's first and last piece may start or end elsewhere");
  add_size(app, "--dma-alignment", options.dma_alignment_bytes, "Of clients' buffers");
  add_size(app, "--max-segments", options.max_segments, "Pieces of memory in a request");
  add_size(app, "--max-segment", options.max_segment_bytes, "Bytes in one piece");
  add_size(app, "--segment-boundary", options.segment_boundary_bytes,
           "No piece crosses a multiple of this");
}

void add_discard_and_cache_options(CLI::App& app, DeviceOptions& options) {
  add_size(app, "--discard-granularity", options.discard_granularity_bytes, "Of discards");
  add_size(app, "--discard-alignment", options.discard_alignment_bytes, "Of discards");
  add_size(app, "--max-discard", options.max_discard_bytes, "Largest discard; 0: none");
  add_size(app, "--max-write-zeroes", options.max_write_zeroes_bytes,
           "Largest write of zeroes; 0: none");
  add_switch(app, "--write-cache", options.write_cache,
             "Whether clients must flush to be safe (default: as the target)");
  add_switch(app, "--fua", options.fua, "Whether single writes can be forced to stable storage");
  app.add_flag("--read-only", options.read_only, "Refuse writes")->group(limits_group);
  app.add_flag("--rotational", options.rotational, "Say that seeking is slow")->group(limits_group);
  add_size(app, "--io-desc-size", options.io_desc_bytes,
           "Bytes from one io descriptor to the next, 24 to 256 (Linux 7.3)");
  app.add_flag("--unprivileged", options.unprivileged,
               "A device of an ordinary user; needs the udev rule of docs/life-cycle.md")
      ->group(limits_group);
}

void add_metadata_options(CLI::App& app, MetadataOptions& metadata) {
  using Checksum = MetadataOptions::Checksum;
  app.add_option("--metadata", metadata.bytes, "Bytes of metadata")->group(metadata_group);
  app.add_option("--metadata-checksum", metadata.checksum, "What the block layer checks")
      ->type_name("none|ip|t10dif|nvme")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, Checksum>{{"none", Checksum::none},
                                                                  {"ip", Checksum::ip},
                                                                  {"t10dif", Checksum::t10dif},
                                                                  {"nvme", Checksum::nvme}}))
      ->group(metadata_group);
  app.add_option("--metadata-offset", metadata.tuple_offset, "Where the checksum's tuple starts")
      ->group(metadata_group);
  app.add_option("--metadata-tag", metadata.tag_bytes, "Bytes of application tag")
      ->group(metadata_group);
  app.add_flag("--metadata-reference-tag", metadata.reference_tag, "Check block numbers too")
      ->group(metadata_group);
  app.add_flag("--metadata-device-checks", metadata.device_checks,
               "Say that the device checks as well")
      ->group(metadata_group);
  app.add_option("--metadata-max-segments", metadata.max_segments, "Pieces in a request; 0: any")
      ->group(metadata_group);
  app.add_option("--metadata-file", metadata.file,
                 "Where it is stored (default: in memory, lost with the server)")
      ->type_name("FILE")
      ->group(metadata_group);
}

}  // namespace

void add_device_options(CLI::App& app, DeviceOptions& options) {
  app.add_option("-r,--recovery", options.recovery,
                 "When the server dies, the device stays for 'ublk-server recover', and\n"
                 "fail: I/O that the server had fails, later I/O waits;\n"
                 "reissue: all I/O waits (the target may get a write twice);\n"
                 "fail-io: all I/O fails.  Without this option the device goes away")
      ->transform(
          CLI::CheckedTransformer(std::map<std::string, Recovery>{{"fail", Recovery::fail},
                                                                  {"reissue", Recovery::reissue},
                                                                  {"fail-io", Recovery::fail_io}}))
      ->type_name("fail|reissue|fail-io");
  add_block_options(app, options);
  add_discard_and_cache_options(app, options);
  add_metadata_options(app, options.metadata);
}

}  // namespace ublkbench

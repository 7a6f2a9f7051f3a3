// SPDX-License-Identifier: MIT
// What is remembered of a device beside the device: the words that made it, and which files held
// its data. A server that takes over needs the former and must not get the latter wrong.
//
// The driver keeps 64 bits for us, so this is a file in /run/ublkbench: gone with the next boot,
// as the device is.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "bench/base/result.hpp"
#include "bench/control/control.hpp"
#include "bench/server/metadata_store.hpp"
#include "bench/server/serve_options.hpp"
#include "bench/targets/target.hpp"

namespace ublkbench {

struct DeviceRecord {
  int id = -1;
  pid_t owner = -1;                ///< control::owner()
  std::uint64_t stamp = 0;         ///< ublksrv_flags: tells this device from a later namesake
  std::string folder;              ///< that relative paths in `words` start from
  std::vector<std::string> words;  ///< options of `ublk-server add`
  std::string target;
  std::vector<std::string> files;  ///< file_identities() of the target
  std::uint64_t target_bytes = 0;
  bool read_only = false;  ///< the target is only read
  /// How large the device can be with the metadata that it has; 0 without, and in a record of an
  /// earlier version.
  std::uint64_t metadata_room_bytes = 0;
  /// Target::data_layout(); nothing in a record of an earlier version.
  std::optional<std::string> layout;
  /// region_identity() of what the driver holds, or empty; nothing in an earlier record.
  std::optional<std::string> shared_memory;
};

/// Which files these are, whatever their names: one line each.
std::vector<std::string> file_identities(const Target& target, const MetadataStore* metadata);

/// One such line; empty for what is no file of this machine.
std::string file_identity(int file);

/// Whether lines of a record and of now are of the same files. A record of an earlier version does
/// not say when a file was made; then that is not compared.
bool same_files(const std::vector<std::string>& recorded, const std::vector<std::string>& now);

/// What the driver was told of the memory that a client shares.
std::string region_identity(const ServeOptions& options, int file);

/// Refuses what is the data of another device that there is, served or waiting for a server, unless
/// both only read it. `own` is the number of the device that asks; -1 if it has none.
Result<> refuse_shared(const std::vector<std::string>& files, bool read_only, int own);

/// Whether such a line is of the metadata, not of the target.
bool is_metadata(const std::string& identity);

Result<> save(const DeviceRecord& record);

/// The record of this very device; nothing when there is none.
std::optional<DeviceRecord> load_record(const ublksrv_ctrl_dev_info& device);

void forget_record(int id);

}  // namespace ublkbench

// SPDX-License-Identifier: MIT
// On what a figure was measured: what must be equal for two figures to be comparable (the key), and
// what is worth knowing (noted).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace ublkbench {

/// {"key": 16 hex digits, "key_fields": {...}, "noted": {...}}. The key is a hash of key_fields;
/// nothing that is measured or that changes by itself (frequencies, load, names) is in it, nor the
/// commit of the programs, which is what runs are compared for. A field that this machine does not
/// show is null. With a block device its queue limits are in the key.
/// `root` is put before every path that is read (for tests).
nlohmann::json capture_environment(const std::string& block_device = {},
                                   const std::string& root = {});

/// The hash that names a set of key fields; the same for equal JSON on every machine.
std::string environment_key(const nlohmann::json& key_fields);

/// The kernel's command line without words that say where things are and how much is printed.
std::string comparable_cmdline(std::string_view cmdline);

/// The build id in hex from ELF notes (/sys/kernel/notes); empty if there is none.
std::string build_id_of_notes(std::string_view notes);

}  // namespace ublkbench

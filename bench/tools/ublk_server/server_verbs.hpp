// SPDX-License-Identifier: MIT
// The verbs of ublk-server. Each file of them adds its subcommands; what they return ends up in
// `code`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "bench/base/result.hpp"

namespace ublkbench {

/// add, recover, upgrade: a process that serves.
void add_serving_verbs(CLI::App& app, int& code);

/// del, stop, quiesce, resize, set-affinity: what is done to a device.
void add_control_verbs(CLI::App& app, int& code);

/// list, features, owner: what there is.
void add_listing_verbs(CLI::App& app, int& code);

/// Prints the error as ublk-server's; its exit code.
int report(const Error& error);

/// For verbs whose only outcome is success or an error.
int report(const Result<>& result);

}  // namespace ublkbench

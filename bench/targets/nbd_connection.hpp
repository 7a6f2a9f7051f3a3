// SPDX-License-Identifier: MIT
// Finds an NBD server and agrees with it on an export.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bench/base/fd.hpp"

namespace ublkbench::nbd {

struct Address {
  std::string text;  ///< as the user wrote it, for messages
  std::string socket_path;
  std::string host;  ///< where socket_path is empty
  std::string port;
  std::string export_name;
};

/// Parses "HOST:PORT[/NAME]", "[IPV6]:PORT[/NAME]" or "unix:PATH[/NAME]"; of the last, PATH is the
/// longest part that is a socket.
Result<Address> parse_address(std::string_view argument);

struct Export {
  std::uint64_t bytes = 0;
  std::uint16_t flags = 0;  ///< ExportFlag
  std::uint32_t min_block_bytes = 1;
  std::uint32_t max_payload_bytes = 32U << 20;  ///< what the protocol promises when nothing is said
};

struct Connection {
  Fd socket;  ///< blocking, with nothing unread
  Export properties;
};

/// Connects and negotiates; gives up after ten seconds without an answer.
Result<Connection> connect_to(const Address& address);

}  // namespace ublkbench::nbd

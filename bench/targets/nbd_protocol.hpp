// SPDX-License-Identifier: MIT
// What an NBD client says and hears after and during the handshake: fixed newstyle, NBD_OPT_GO and
// simple replies. The numbers are the protocol's (doc/proto.md of the NBD project); on the wire all
// is big-endian.
#pragma once

#include <endian.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bench/targets/target.hpp"

namespace ublkbench::nbd {

inline constexpr std::uint64_t server_magic = 0x4e42444d41474943;  // "NBDMAGIC"
inline constexpr std::uint64_t option_magic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr std::uint64_t option_reply_magic = 0x0003e889045565a9;
inline constexpr std::uint32_t request_magic = 0x25609513;
inline constexpr std::uint32_t reply_magic = 0x67446698;

inline constexpr std::uint16_t flag_fixed_newstyle = 1 << 0;
inline constexpr std::uint16_t flag_no_zeroes = 1 << 1;
inline constexpr std::uint32_t option_go = 7;
inline constexpr std::uint32_t reply_ack = 1;
inline constexpr std::uint32_t reply_info = 3;
inline constexpr std::uint32_t reply_is_error = 1U << 31;
inline constexpr std::uint16_t info_export = 0;
inline constexpr std::uint16_t info_block_size = 3;

/// Transmission flags of an export.
enum ExportFlag : std::uint16_t {
  read_only = 1 << 1,
  send_flush = 1 << 2,
  send_fua = 1 << 3,
  send_trim = 1 << 5,
  send_write_zeroes = 1 << 6,
  can_multi_conn = 1 << 8,
};

/// Appends a number to a message.
template <class T>
void put(std::byte*& at, T value) {
  if constexpr (sizeof(T) == 8) value = htobe64(value);
  if constexpr (sizeof(T) == 4) value = htobe32(value);
  if constexpr (sizeof(T) == 2) value = htobe16(value);
  std::memcpy(at, &value, sizeof(value));
  at += sizeof(value);
}

/// Takes a number off a message.
template <class T>
T get(const std::byte*& at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  at += sizeof(value);
  if constexpr (sizeof(T) == 8) return be64toh(value);
  if constexpr (sizeof(T) == 4) return be32toh(value);
  if constexpr (sizeof(T) == 2) return be16toh(value);
}

inline constexpr std::size_t request_bytes = 28;
inline constexpr std::size_t reply_bytes = 16;

inline std::uint16_t command_of(Op op) {
  switch (op) {
    case Op::read:
      return 0;
    case Op::write:
      return 1;
    case Op::flush:
      return 3;
    case Op::discard:
      return 4;
    case Op::write_zeroes:
      return 6;
    default:
      return 0xffff;
  }
}

/// `at` has room for request_bytes.
inline void encode_request(std::byte* at, const Request& request, std::uint64_t cookie) {
  put(at, request_magic);
  put(at, static_cast<std::uint16_t>(request.fua && request.op != Op::read ? 1 : 0));
  put(at, command_of(request.op));
  put(at, cookie);
  put(at, request.op == Op::flush ? std::uint64_t{0} : request.offset);
  put(at, request.op == Op::flush ? std::uint32_t{0} : request.bytes);
}

struct Reply {
  std::uint32_t magic = 0;
  std::uint32_t error = 0;
  std::uint64_t cookie = 0;
};

inline Reply decode_reply(const std::byte* at) {
  Reply reply;
  reply.magic = get<std::uint32_t>(at);
  reply.error = get<std::uint32_t>(at);
  reply.cookie = get<std::uint64_t>(at);
  return reply;
}

/// A reply's error as a negative errno. The protocol's numbers are Linux's; a server that sends
/// others means EIO or EINVAL, which is all the same to a disk's user.
inline std::int32_t errno_of(std::uint32_t error) {
  switch (error) {
    case EPERM:
    case EIO:
    case ENOMEM:
    case EINVAL:
    case ENOSPC:
    case EOVERFLOW:
    case EOPNOTSUPP:
    case ESHUTDOWN:
      return -static_cast<std::int32_t>(error);
    default:
      return -EIO;
  }
}

}  // namespace ublkbench::nbd

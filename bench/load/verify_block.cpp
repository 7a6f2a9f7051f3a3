// SPDX-License-Identifier: MIT
#include "bench/load/verify_block.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace ublkbench::load {
namespace {

constexpr std::uint64_t magic = 0x316b636f6c427655ULL;  // "UvBlock1" in little endian

struct Header {
  std::uint64_t magic;
  std::uint64_t device;
  std::uint64_t offset;
  std::uint64_t run;
  std::uint64_t write;
  std::uint32_t generation;
  std::uint32_t position;
  std::uint32_t length;
  std::uint32_t body_crc;  // payload and trailer
  std::uint32_t reserved;
  std::uint32_t header_crc;  // everything before
};
static_assert(sizeof(Header) == 64);

struct Trailer {
  std::uint64_t write;
  std::uint32_t generation;
  std::uint32_t check;  // over the offset, too: a trailer from elsewhere does not fit here
};
static_assert(sizeof(Trailer) == 16);

constexpr std::uint32_t polynomial = 0x82f63b78;  // Castagnoli, reflected

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? polynomial : 0);
    table[byte] = crc;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> table = make_table();

#ifdef __x86_64__
__attribute__((target("sse4.2"))) std::uint32_t crc32c_sse42(std::span<const std::byte> bytes,
                                                             std::uint32_t crc) {
  std::uint64_t state = ~crc;
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    state = __builtin_ia32_crc32di(state, word);
  }
  auto rest = static_cast<std::uint32_t>(state);
  for (; at < bytes.size(); ++at)
    rest = __builtin_ia32_crc32qi(rest, static_cast<unsigned char>(bytes[at]));
  return ~rest;
}
const bool has_sse42 = __builtin_cpu_supports("sse4.2") != 0;
#endif

/// The payload as a stream of words: a linear congruential generator, one product a word.
class Payload {
 public:
  Payload(std::uint64_t run, std::uint64_t offset, std::uint32_t generation)
      : state_((run ^ (offset * 0x9e3779b97f4a7c15ULL)) + generation * 0xd1b54a32d192ed03ULL) {}
  std::uint64_t next() {
    state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
    return state_;
  }

 private:
  std::uint64_t state_;
};

template <class T>
T load(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::uint32_t crc_of(const Header& header) {
  return crc32c(bytes_of(header).first(offsetof(Header, header_crc)));
}

/// Not a CRC: the body's CRC runs over the trailer too, and data followed by its own CRC leaves a
/// CRC the same whatever the data is. A trailer of another write would go unnoticed.
std::uint32_t check_of(const Trailer& trailer, std::uint64_t offset) {
  const std::uint64_t mixed = (trailer.write * 0x9e3779b97f4a7c15ULL) ^
                              ((offset + trailer.generation) * 0xd1b54a32d192ed03ULL);
  return static_cast<std::uint32_t>((mixed ^ (mixed >> 29)) * 0xbf58476d1ce4e5b9ULL >> 32);
}

BlockIdentity identity_of(const Header& header) {
  return {.device = header.device,
          .offset = header.offset,
          .run = header.run,
          .write = header.write,
          .generation = header.generation,
          .position = header.position,
          .length = header.length};
}

std::size_t trailer_at(std::span<const std::byte> block) { return block.size() - sizeof(Trailer); }

/// The payload's word at byte `at` of the block, had it the given generation.
std::uint64_t payload_word(const BlockIdentity& identity, std::uint32_t generation,
                           std::size_t at) {
  Payload payload(identity.run, identity.offset, generation);
  std::uint64_t word = 0;
  for (std::size_t byte = sizeof(Header); byte <= at; byte += sizeof word) word = payload.next();
  return word;
}

/// The first payload word that differs from what the header promises; the trailer if none does.
std::size_t first_difference(std::span<const std::byte> block, const BlockIdentity& identity) {
  Payload payload(identity.run, identity.offset, identity.generation);
  for (std::size_t at = sizeof(Header); at < trailer_at(block); at += sizeof(std::uint64_t))
    if (load<std::uint64_t>(block, at) != payload.next()) return at;
  return trailer_at(block);
}

/// The header is sound but the body is not what it promises: parts of two writes, or garbage?
BlockView diagnose_body(std::span<const std::byte> block, const BlockIdentity& found) {
  BlockView view{.state = BlockState::corrupt,
                 .found = found,
                 .first_bad_byte = first_difference(block, found)};
  const auto trailer = load<Trailer>(block, trailer_at(block));
  if (trailer.check == check_of(trailer, found.offset) && trailer.write != found.write)
    view.state = BlockState::torn;
  if (view.first_bad_byte == trailer_at(block)) return view;
  // An older or newer middle between a header and a trailer of one write is as torn.
  const auto word = load<std::uint64_t>(block, view.first_bad_byte);
  for (const std::uint32_t other : {found.generation - 1, found.generation + 1})
    if (word == payload_word(found, other, view.first_bad_byte)) view.state = BlockState::torn;
  return view;
}

}  // namespace

std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t crc) {
  crc = ~crc;
  for (const std::byte byte : bytes)
    crc = (crc >> 8) ^ table[(crc ^ static_cast<std::uint32_t>(byte)) & 0xff];
  return ~crc;
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc) {
#ifdef __x86_64__
  if (has_sse42) return crc32c_sse42(bytes, crc);
#endif
  return crc32c_portable(bytes, crc);
}

void fill_block(std::span<std::byte> block, const BlockIdentity& identity) {
  Payload payload(identity.run, identity.offset, identity.generation);
  for (std::size_t at = sizeof(Header); at < trailer_at(block); at += sizeof(std::uint64_t)) {
    const std::uint64_t word = payload.next();
    std::memcpy(block.data() + at, &word, sizeof word);
  }
  Trailer trailer{.write = identity.write, .generation = identity.generation, .check = 0};
  trailer.check = check_of(trailer, identity.offset);
  std::memcpy(block.data() + trailer_at(block), &trailer, sizeof trailer);
  Header header{.magic = magic,
                .device = identity.device,
                .offset = identity.offset,
                .run = identity.run,
                .write = identity.write,
                .generation = identity.generation,
                .position = identity.position,
                .length = identity.length,
                .body_crc = crc32c(block.subspan(sizeof(Header))),
                .reserved = 0,
                .header_crc = 0};
  header.header_crc = crc_of(header);
  std::memcpy(block.data(), &header, sizeof header);
}

BlockView inspect_block(std::span<const std::byte> block) {
  const auto header = load<Header>(block, 0);
  if (header.magic == magic && header.header_crc == crc_of(header)) {
    const BlockIdentity found = identity_of(header);
    if (header.body_crc == crc32c(block.subspan(sizeof(Header))))
      return {BlockState::intact, found};
    return diagnose_body(block, found);
  }
  const bool zeroes =
      std::ranges::all_of(block, [](std::byte byte) { return byte == std::byte{}; });
  return {.state = zeroes ? BlockState::zeroed : BlockState::headerless, .found = {}};
}

}  // namespace ublkbench::load

// SPDX-License-Identifier: MIT
// Blocks that say what they are: which device, place, write and generation they belong to, and
// whether they are whole. Owns the format; what ought to be where is verify_model.hpp's.
//
// A block ("granule", 512 bytes or more) is a header of 64 bytes, a payload derived from (run,
// offset, generation), and a trailer of 16 bytes. Header and trailer name the same write, so that a
// block whose halves come from two writes is recognised even when both halves are sound.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bench/record/fields.hpp"

namespace ublkbench::load {

/// CRC-32C (Castagnoli) of `bytes`, continuing from `crc`; SSE 4.2 where the CPU has it.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t crc = 0);
/// The same without any CPU feature.
std::uint32_t crc32c_portable(std::span<const std::byte> bytes, std::uint32_t crc = 0);

struct BlockIdentity {
  std::uint64_t device = 0;      ///< a hash that tells devices apart
  std::uint64_t offset = 0;      ///< where the block belongs, in bytes
  std::uint64_t run = 0;         ///< tells verification runs apart; the payload depends on it
  std::uint64_t write = 0;       ///< the write I/O that brought it, counted from 1
  std::uint32_t generation = 0;  ///< how often this block was written in this run, counted from 1
  std::uint32_t position = 0;    ///< its index among the blocks of that write
  std::uint32_t length = 0;      ///< how many blocks that write had

  bool operator==(const BlockIdentity&) const = default;

  static constexpr auto fields() {
    using B = BlockIdentity;
    return std::tuple(field("device", &B::device), field("offset_bytes", &B::offset),
                      field("run", &B::run), field("write", &B::write),
                      field("generation", &B::generation), field("position", &B::position),
                      field("length", &B::length));
  }
};

/// Makes `block` (at least 512 bytes, a multiple of 8) the block that `identity` says.
void fill_block(std::span<std::byte> block, const BlockIdentity& identity);

enum class BlockState {
  intact,     ///< header, payload and trailer belong together
  zeroed,     ///< nothing but zeroes
  torn,       ///< parts of two writes to this place
  corrupt,    ///< a sound header, but other bytes are wrong
  headerless  ///< no sound header: not a block of ours, or its header is destroyed
};

struct BlockView {
  BlockState state = BlockState::headerless;
  BlockIdentity found;             ///< from the header; meaningless for zeroed and headerless
  std::size_t first_bad_byte = 0;  ///< torn and corrupt: index in the block
};

/// Looks at a block without any expectation of what it should be.
BlockView inspect_block(std::span<const std::byte> block);

}  // namespace ublkbench::load

// SPDX-License-Identifier: MIT
#include "bench/targets/loop.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <bit>
#include <fstream>

#include "bench/base/units.hpp"
#include "bench/targets/file_steps.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t min_bytes = 1 << 20;

struct Opened {
  Fd file;
  bool direct = false;
};

/// O_DIRECT first; a file system without it (EINVAL) is served through the page cache.
Result<Opened> open_backing(const std::string& path, bool exclusive) {
  const int flags = O_RDWR | (exclusive ? O_EXCL : 0);
  auto direct = open_file(path, flags | O_DIRECT);
  if (direct) return Opened{.file = std::move(*direct), .direct = true};
  if (direct.error().errnum == EBUSY)
    return std::unexpected(
        direct.error()
            .with_exit(ExitCode::usage)
            .with_hint(
                "it is mounted or held by someone else; serving it would destroy their data"));
  auto buffered = open_file(path, flags);
  if (!buffered) return std::unexpected(buffered.error().with_exit(ExitCode::usage));
  return Opened{.file = std::move(*buffered), .direct = false};
}

/// log2 of the alignment that O_DIRECT wants of offsets and lengths (statx, Linux 6.1).
unsigned direct_alignment_shift(int fd) {
  struct statx info{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) != 0) return 9;
  if ((info.stx_mask & STATX_DIOALIGN) == 0 || info.stx_dio_offset_align == 0) return 9;
  return static_cast<unsigned>(std::bit_width(info.stx_dio_offset_align) - 1);
}

Result<std::uint64_t> backing_bytes(int fd, const struct stat& status, const std::string& path) {
  if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
  std::uint64_t bytes = 0;
  if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) return failed("ioctl BLKGETSIZE64", path, errno);
  return bytes;
}

/// Whether holes can be punched: tried past the end of the file, where there is nothing to lose.
bool can_punch(int fd, std::uint64_t bytes) {
  const std::uint64_t past_end = (bytes + 0xfffff) & ~0xfffffULL;
  return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(past_end),
                     4096) == 0;
}

/// A block device takes fallocate() as write-zeroes; without an offload only ZERO_RANGE falls back
/// to writing (block/fops.c, blkdev_fallocate).
bool has_write_zeroes_offload(const struct stat& status) {
  std::ifstream limit(std::format("/sys/dev/block/{}:{}/queue/write_zeroes_max_bytes",
                                  major(status.st_rdev), minor(status.st_rdev)));
  std::uint64_t bytes = 0;
  return (limit >> bytes) && bytes != 0;
}

}  // namespace

Result<std::unique_ptr<Target>> LoopTarget::make(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0)
    return std::unexpected(
        failed("open target", path, errno,
               errno == ENOENT ? "create it first, for instance with truncate -s 1G" : "")
            .error()
            .with_exit(ExitCode::usage));
  if (S_ISDIR(status.st_mode))
    return bad_input(std::format("target {} is a directory", path),
                     "give a regular file or a block device");
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    return bad_input(std::format("target {} is neither a regular file nor a block device", path));

  auto opened = open_backing(path, S_ISBLK(status.st_mode));
  if (!opened) return std::unexpected(opened.error());
  const int fd = opened->file.get();
  auto bytes = backing_bytes(fd, status, path);
  if (!bytes) return std::unexpected(bytes.error());
  if (*bytes < min_bytes)
    return bad_input(std::format("target {} is too small: {} bytes", path, *bytes),
                     "it needs at least " + format_size(min_bytes));

  const bool block_device = S_ISBLK(status.st_mode);
  DeviceShape shape{.volatile_cache = true, .fua = true};
  shape.discard = block_device ? has_write_zeroes_offload(status) : can_punch(fd, *bytes);
  shape.write_zeroes = block_device || shape.discard;
  shape.logical_block_shift = opened->direct ? direct_alignment_shift(fd) : 9;
  shape.physical_block_shift = std::max(shape.physical_block_shift, shape.logical_block_shift);
  shape.dma_alignment = (1U << shape.logical_block_shift) - 1;
  shape.bytes = *bytes >> shape.logical_block_shift << shape.logical_block_shift;
  return std::unique_ptr<Target>(
      new LoopTarget(std::move(opened->file), shape, opened->direct, block_device));
}

void LoopTarget::queue(const Request& request, const Data& data, Chain& chain) noexcept {
  switch (request.op) {
    case Op::read:
    case Op::write:
      return queue_transfer(chain, 0, request, data);
    case Op::flush:
      return queue_datasync(chain, 0);
    case Op::discard:
      return queue_fallocate(chain, 0, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                             request);
    case Op::write_zeroes:
      return queue_fallocate(
          chain, 0,
          FALLOC_FL_KEEP_SIZE | (block_device_ ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE),
          request);
  }
  chain.complete(-EOPNOTSUPP);
}

}  // namespace ublkbench

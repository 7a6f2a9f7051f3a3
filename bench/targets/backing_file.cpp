// SPDX-License-Identifier: MIT
#include "bench/targets/backing_file.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <fstream>
#include <thread>

#include "bench/base/file_use.hpp"
#include "bench/base/format.hpp"
#include "bench/base/units.hpp"
#include "bench/targets/file_steps.hpp"

namespace ublkbench {
namespace {

constexpr std::uint64_t min_bytes = 1 << 20;

struct Opened {
  Fd file;
  bool direct = false;
  bool writes = false;
};

std::unexpected<Error> in_use(const std::string& path, const std::string& by_whom) {
  auto error =
      failed("open target", path, EBUSY, by_whom + "; two users of the same data destroy it");
  return std::unexpected(error.error().with_exit(ExitCode::usage));
}

/// O_DIRECT first; a file system without it (EINVAL) is served through the page cache.
Result<Opened> open_past_the_cache(const std::string& path, int flags) {
  const bool writes = (flags & O_ACCMODE) == O_RDWR;
  auto direct = open_file(path, flags | O_DIRECT);
  if (direct) return Opened{.file = std::move(*direct), .direct = true, .writes = writes};
  if (direct.error().errnum == EBUSY) return std::unexpected(direct.error());
  auto buffered = open_file(path, flags);
  if (!buffered) return std::unexpected(buffered.error());
  return Opened{.file = std::move(*buffered), .direct = false, .writes = writes};
}

/// For writing where that is possible: not on a read-only file system, not what is immutable or
/// somebody else's.
Result<Opened> open_as_allowed(const std::string& path, const TargetUse& use, int exclusive) {
  if (use.writes) {
    auto opened = open_past_the_cache(path, O_RDWR | exclusive);
    if (opened) return opened;
    const int why = opened.error().errnum;
    if (why != EROFS && why != EACCES && why != EPERM) return opened;
  }
  return open_past_the_cache(path, O_RDONLY | exclusive);
}

/// A block device exclusively. The last user's ring may still be on its way out
/// (io_uring/io_uring.c, io_ring_exit_work), and its files with it.
Result<Opened> open_held(const std::string& path, const TargetUse& use, const struct stat& status) {
  constexpr int tries = 200;
  const int exclusive = use.holds && S_ISBLK(status.st_mode) ? O_EXCL : 0;
  auto opened = open_as_allowed(path, use, exclusive);
  for (int tried = 1; tried < tries && !opened && opened.error().errnum == EBUSY; ++tried) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    opened = open_as_allowed(path, use, exclusive);
  }
  const FileId id = file_id(status);
  if (!opened)
    return opened.error().errnum == EBUSY
               ? in_use(path, users_of(id))
               : std::unexpected(opened.error().with_exit(ExitCode::usage));
  if (!use.holds) return opened;
  if (const auto use_by_kernel = kernel_use(id, opened->writes))
    return in_use(path, *use_by_kernel);
  if (!hold(opened->file.get(), path, opened->writes)) return in_use(path, users_of(id));
  return opened;
}

/// "blockdev --setro" does not keep anybody from opening it for writing (block/fops.c,
/// blkdev_write_iter refuses the writes).
bool is_read_only_device(int fd) {
  int read_only = 0;
  return ::ioctl(fd, BLKROGET, &read_only) == 0 && read_only != 0;
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

/// A limit in sysfs of the disk that `device` is, or is a partition of; nothing if there is none.
std::optional<std::uint64_t> queue_limit(dev_t device, std::string_view name) {
  const std::string folder = formatted("/sys/dev/block/{}:{}", major(device), minor(device));
  for (const char* parent : {"", "/.."}) {
    std::ifstream limit(formatted("{}{}/queue/{}", folder, parent, name));
    std::uint64_t value = 0;
    if (limit >> value) return value;
  }
  return std::nullopt;
}

/// A block device takes fallocate() as write-zeroes; without an offload only ZERO_RANGE falls back
/// to writing (block/fops.c, blkdev_fallocate).
bool has_write_zeroes_offload(const struct stat& status) {
  return queue_limit(status.st_rdev, "write_zeroes_max_bytes").value_or(0) != 0;
}

Result<struct stat> status_of(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0)
    return std::unexpected(
        failed("open target", path, errno,
               errno == ENOENT ? "create it first, for instance with truncate -s 1G" : "")
            .error()
            .with_exit(ExitCode::usage));
  if (S_ISDIR(status.st_mode))
    return bad_input(formatted("target {} is a directory", path),
                     "give a regular file or a block device");
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    return bad_input(formatted("target {} is neither a regular file nor a block device", path));
  return status;
}

DeviceShape shape_of(const Opened& opened, const TargetUse& use, const struct stat& status,
                     std::uint64_t bytes) {
  const bool block_device = S_ISBLK(status.st_mode);
  const int fd = opened.file.get();
  DeviceShape shape{.volatile_cache = true, .fua = true};
  shape.read_only = !opened.writes || (block_device && is_read_only_device(fd));
  if (!shape.read_only) {
    shape.discard =
        block_device ? has_write_zeroes_offload(status) : use.probes && can_punch(fd, bytes);
    shape.write_zeroes = block_device || shape.discard;
  }
  shape.logical_block_shift = opened.direct ? direct_alignment_shift(fd) : 9;
  shape.physical_block_shift = std::max(shape.physical_block_shift, shape.logical_block_shift);
  shape.dma_alignment = (1U << shape.logical_block_shift) - 1;
  shape.bytes = bytes >> shape.logical_block_shift << shape.logical_block_shift;
  return shape;
}

/// One read of the first block through a ring that polls. A file without ->iopoll is refused there
/// (io_uring/rw.c, io_rw_init_file) and nowhere else.
Result<> try_polled_read(int fd, std::size_t block_bytes) {
  auto ring = Ring::create({.sq_entries = 4, .iopoll = true});
  if (!ring) return std::unexpected(ring.error());
  auto block = Mapping::map(std::max<std::size_t>(block_bytes, 4096), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS);
  if (!block) return std::unexpected(block.error());
  io_uring_sqe* const sqe = ring->sqe();
  io_uring_prep_read(sqe, fd, block->data(), static_cast<unsigned>(block_bytes), 0);
  if (const int ret = ring->submit(1); ret < 0) return failed("io_uring_enter", "to poll", -ret);
  std::int32_t result = 0;
  ring->reap([&](const io_uring_cqe& cqe) { result = cqe.res; });
  if (result < 0) return failed("read", "through a ring that polls", -result);
  return {};
}

}  // namespace

Result<BackingFile> BackingFile::open(const std::string& path, const TargetUse& use) {
  auto status = status_of(path);
  if (!status) return std::unexpected(status.error());
  const bool block_device = S_ISBLK(status->st_mode);
  auto opened = open_held(path, use, *status);
  if (!opened) return std::unexpected(opened.error());
  auto bytes = backing_bytes(opened->file.get(), *status, path);
  if (!bytes) return std::unexpected(bytes.error());
  if (*bytes < min_bytes)
    return bad_input(formatted("target {} is too small: {} bytes", path, *bytes),
                     "it needs at least " + format_size(min_bytes));

  BackingFile backing;
  backing.path_ = path;
  backing.shape_ = shape_of(*opened, use, *status, *bytes);
  backing.file_ = std::move(opened->file);
  backing.direct_ = opened->direct;
  backing.block_device_ = block_device;
  backing.disk_ = block_device ? status->st_rdev : status->st_dev;
  return backing;
}

Result<> BackingFile::pollable() const {
  const std::string name = formatted("polled I/O on {}", path_);
  if (!direct_)
    return unsupported(name, "its file system has no O_DIRECT, and the page cache does not poll");
  const auto poll_queues = queue_limit(disk_, "io_poll");
  if (!poll_queues)
    return unsupported(name, formatted("its file system is on no block device of its own "
                                       "({}:{}), so there is no poll queue",
                                       major(disk_), minor(disk_)));
  if (*poll_queues == 0)
    return unsupported(name, formatted("disk {}:{} has no poll queues (queue/io_poll is 0); NVMe "
                                       "has them with nvme.poll_queues=N, null_blk with "
                                       "poll_queues=N",
                                       major(disk_), minor(disk_)));
  auto tried = try_polled_read(file_.get(), 1UL << shape_.logical_block_shift);
  if (!tried) return std::unexpected(tried.error().with_hint("of " + path_));
  return {};
}

void queue_without_data(Chain& chain, int file, const BackingFile& backing,
                        const Request& request) noexcept {
  constexpr int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  constexpr int zero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
  switch (request.op) {
    case Op::flush:
      return queue_datasync(chain, file);
    case Op::discard:
      return queue_fallocate(chain, file, punch, request.offset, request.bytes);
    case Op::write_zeroes:
      return queue_fallocate(chain, file, backing.is_block_device() ? zero : punch, request.offset,
                             request.bytes);
    default:
      chain.complete(-EOPNOTSUPP);
  }
}

}  // namespace ublkbench

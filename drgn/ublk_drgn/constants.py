# SPDX-License-Identifier: MIT
"""Constants that BTF does not have because they are macros, each with the kernels for which it was read.

Three sorts: UAPI (fixed for good), the driver's and io_uring's private flags (no bit has been used for a second
meaning so far), and states of the scheduler. Enumerations come from the kernel at hand and have no table here.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Bit:
    """`first` and `last` are the kernels between which the bit was in use; an empty `last`: still."""

    mask: int
    name: str
    first: str = ""
    last: str = ""


class Flags:
    """Decodes a flag word; what is not in the table is printed as a bit with a question mark, never dropped."""

    def __init__(self, read_in: str, *bits: Bit) -> None:
        self.read_in = read_in
        self.bits = bits

    def names(self, value: int | None) -> list[str]:
        if value is None:
            return []
        known = [bit for bit in self.bits if value & bit.mask == bit.mask]
        rest = value & ~sum(bit.mask for bit in self.bits)
        return [bit.name for bit in known] + [f"bit{number}?" for number in range(rest.bit_length())
                                              if rest >> number & 1]

    def unknown(self, value: int) -> bool:
        return bool(value & ~sum(bit.mask for bit in self.bits))


# drivers/block/ublk_drv.c
IO_ACTIVE, IO_OWNED_BY_SRV, IO_NEED_GET_DATA, IO_AUTO_BUF_REG = 0x01, 0x02, 0x08, 0x10
IO_CANCELED = 0x80000000
IO_FLAGS = Flags(
    "6.0..7.3.4", Bit(IO_ACTIVE, "ACTIVE", "6.0"), Bit(IO_OWNED_BY_SRV, "OWNED_BY_SRV", "6.0"),
    Bit(0x04, "ABORTED", "6.0", "6.14"), Bit(IO_NEED_GET_DATA, "NEED_GET_DATA", "6.1"),
    Bit(IO_AUTO_BUF_REG, "AUTO_BUF_REG", "6.16"), Bit(IO_CANCELED, "CANCELED", "6.7"))
STATE_OPEN, STATE_USED, STATE_DELETED, STATE_STOPPING = 1, 2, 4, 8
DEVICE_STATE_BITS = Flags(
    "6.0..7.3.4", Bit(STATE_OPEN, "OPEN", "6.0"), Bit(STATE_USED, "USED", "6.0"), Bit(STATE_DELETED, "DELETED", "6.4"),
    Bit(STATE_STOPPING, "STOPPING", "7.3"))
REFCOUNT_INIT = 0x3FFFFFFF  # REFCOUNT_MAX / 2, since 6.16
REFCOUNT_READ_IN = "6.16..7.3.4"

# include/uapi/linux/ublk_cmd.h
F_SUPPORT_ZERO_COPY, F_NEED_GET_DATA, F_USER_RECOVERY, F_RECOVERY_REISSUE = 1 << 0, 1 << 2, 1 << 3, 1 << 4
F_UNPRIVILEGED_DEV, F_USER_COPY, F_RECOVERY_FAIL_IO, F_AUTO_BUF_REG = 1 << 5, 1 << 7, 1 << 9, 1 << 11
F_QUIESCE, F_PER_IO_DAEMON, F_BATCH_IO = 1 << 12, 1 << 13, 1 << 15
F_WITH_REFERENCES = F_USER_COPY | F_SUPPORT_ZERO_COPY | F_AUTO_BUF_REG
DEVICE_FLAGS = Flags("uapi, up to 7.3.4", *(Bit(1 << number, name) for number, name in enumerate((
    "SUPPORT_ZERO_COPY", "URING_CMD_COMP_IN_TASK", "NEED_GET_DATA", "USER_RECOVERY", "USER_RECOVERY_REISSUE",
    "UNPRIVILEGED_DEV", "CMD_IOCTL_ENCODE", "USER_COPY", "ZONED", "USER_RECOVERY_FAIL_IO", "UPDATE_SIZE",
    "AUTO_BUF_REG", "QUIESCE", "PER_IO_DAEMON", "BUF_REG_OFF_DAEMON", "BATCH_IO", "INTEGRITY", "SAFE_STOP_DEV",
    "NO_AUTO_PART_SCAN", "SHMEM_ZC", "IO_DESC_SIZE"))))
DEVICE_STATES = {0: "DEAD", 1: "LIVE", 2: "QUIESCED", 3: "FAIL_IO"}
CONTROL_COMMANDS = {
    0x01: "GET_QUEUE_AFFINITY", 0x02: "GET_DEV_INFO", 0x04: "ADD_DEV", 0x05: "DEL_DEV", 0x06: "START_DEV",
    0x07: "STOP_DEV", 0x08: "SET_PARAMS", 0x09: "GET_PARAMS", 0x10: "START_USER_RECOVERY", 0x11: "END_USER_RECOVERY",
    0x12: "GET_DEV_INFO2", 0x13: "GET_FEATURES", 0x14: "DEL_DEV_ASYNC", 0x15: "UPDATE_SIZE", 0x16: "QUIESCE_DEV",
    0x17: "TRY_STOP_DEV", 0x18: "REG_BUF", 0x19: "UNREG_BUF"}
PARAM_TYPES = Flags("uapi, up to 7.3.4", *(Bit(1 << number, name) for number, name in enumerate((
    "BASIC", "DISCARD", "DEVT", "ZONED", "DMA_ALIGN", "SEGMENT", "INTEGRITY"))))

# include/uapi/linux/io_uring.h
SETUP_IOPOLL, SETUP_SQPOLL, SETUP_DEFER_TASKRUN = 1 << 0, 1 << 1, 1 << 13
RING_SETUP = Flags("uapi, up to 7.3.4", *(Bit(1 << number, name) for number, name in enumerate((
    "IOPOLL", "SQPOLL", "SQ_AFF", "CQSIZE", "CLAMP", "ATTACH_WQ", "R_DISABLED", "SUBMIT_ALL", "COOP_TASKRUN",
    "TASKRUN_FLAG", "SQE128", "CQE32", "SINGLE_ISSUER", "DEFER_TASKRUN", "NO_MMAP", "REGISTERED_FD_ONLY",
    "NO_SQARRAY", "HYBRID_IOPOLL", "CQE_MIXED", "SQE_MIXED", "SQ_REWIND"))))
SQ_FLAGS = Flags("uapi, up to 7.3.4", Bit(1, "NEED_WAKEUP"), Bit(2, "CQ_OVERFLOW"), Bit(4, "TASKRUN"))
# io_uring/rsrc.h, io_uring/filetable.h
REGBUF_KERNEL = 1
FILE_POINTER_FLAGS = 0x3

# include/linux/sched.h
TASK_INTERRUPTIBLE, TASK_UNINTERRUPTIBLE, TASK_STOPPED, TASK_TRACED = 1, 2, 4, 8
EXIT_DEAD, EXIT_ZOMBIE, TASK_PARKED, TASK_DEAD = 0x10, 0x20, 0x40, 0x80
TASK_NOLOAD, TASK_FROZEN = 0x400, 0x8000
PF_EXITING, PF_IO_WORKER, PF_WQ_WORKER, PF_KTHREAD = 0x4, 0x10, 0x20, 0x00200000
TASK_FLAGS = Flags(
    "5.17..7.3.4", Bit(PF_EXITING, "EXITING"), Bit(PF_IO_WORKER, "IO_WORKER"), Bit(PF_WQ_WORKER, "WQ_WORKER"),
    Bit(0x800, "MEMALLOC"), Bit(0x00080000, "MEMALLOC_NOIO"), Bit(0x00100000, "LOCAL_THROTTLE"),
    Bit(PF_KTHREAD, "KTHREAD"))
PF_MEMALLOC_NOIO, PF_LOCAL_THROTTLE = 0x00080000, 0x00100000  # PR_SET_IO_FLUSHER sets both
MUTEX_FLAGS = 7
POLICIES = {0: "NORMAL", 1: "FIFO", 2: "RR", 3: "BATCH", 5: "IDLE", 6: "DEADLINE", 7: "EXT"}
# include/linux/sched/jobctl.h, include/linux/sched/signal.h
JOBCTL_STOP_SIGMASK, SIGNAL_GROUP_EXIT = 0xFFFF, 4


def mutex_task(owner: int) -> int:
    """The task in a mutex's owner word, which is a signed long with three bits for flags."""
    return owner & ((1 << 64) - 1) & ~MUTEX_FLAGS


# include/linux/blkdev.h
DISK_STATE = Flags("6.1..7.3.4", *(Bit(1 << number, name) for number, name in enumerate((
    "NEED_PART_SCAN", "READ_ONLY", "DEAD", "NATIVE_CAPACITY", "ADDED", "SUPPRESS_PART_SCAN", "OWNS_QUEUE",
    "ZONE_APPEND_USED", "ERROR_INJECT"))))
# include/linux/blk_types.h: the operation is in the low bits of cmd_flags.
REQ_OP_MASK = 0xFF
# include/linux/percpu-refcount.h and lib/percpu-refcount.c
PERCPU_REF_ATOMIC, PERCPU_REF_DEAD = 1, 2

TABLES = {"io flags": IO_FLAGS.read_in, "device state bits": DEVICE_STATE_BITS.read_in,
          "reference count": REFCOUNT_READ_IN, "task flags": TASK_FLAGS.read_in, "disk state": DISK_STATE.read_in}


def task_state(state: int, exit_state: int) -> str:
    """The letter of ps, with D split from I as the kernel does."""
    if exit_state & EXIT_ZOMBIE:
        return "Z"
    if exit_state & EXIT_DEAD or state & TASK_DEAD:
        return "X"
    if state & TASK_STOPPED:
        return "T"
    if state & TASK_TRACED:
        return "t"
    if state & TASK_FROZEN:
        return "F"
    if state & TASK_UNINTERRUPTIBLE:
        return "I" if state & TASK_NOLOAD else "D"
    if state & TASK_INTERRUPTIBLE:
        return "S"
    if state & TASK_PARKED:
        return "P"
    return "R" if state == 0 else "?"


def io_flags_known(flags: int) -> bool:
    return not IO_FLAGS.unknown(flags)

# SPDX-License-Identifier: MIT
"""The ways in which ublk gets stuck: id, how bad, what it means, whose turn it is, and what to do next.

H1 to H17 are the ids of docs/ublk-dump.md; D1 and D2 are defects of the driver, described in docs/reports.
"""

from __future__ import annotations

import enum
import typing

from .model import Finding, Severity

DEFECT, HANG, CONSEQUENCE = Severity.DEFECT, Severity.HANG, Severity.CONSEQUENCE
SLOW, INFO = Severity.SLOW, Severity.INFO
_RESTART = ("restart the server; without recovery flags the held I/O then fails with EIO, with "
            "USER_RECOVERY_REISSUE it is served again")


class Entry(enum.Enum):
    """The name is the code of a finding. `severity` is what it mostly has; a rule may know better."""

    def __init__(self, id: str, severity: Severity, title: str, owner: str, advice: str) -> None:
        self.id, self.severity, self.title, self.owner, self.advice = id, severity, title, owner, advice

    def found(self, evidence: typing.Iterable[str], severity: Severity | None = None, *, device: int | None = None,
              queue: int | None = None, tags: typing.Iterable[int] = (), since_ns: int | None = None, text: str = "",
              next_step: str = "", ruled_out: typing.Iterable[str] = (), waits_behind: tuple[int, ...] = ()) -> Finding:
        """`text` and `next_step` replace title and advice where more is known than they say."""
        return Finding(self.name, self.id, severity or self.severity, device, queue, list(tags), self.owner, since_ns,
                       self.title, text or self.title, list(evidence), next_step or self.advice, list(ruled_out),
                       waits_behind)

    SERVER_HOLDS_IO = ("H1", HANG, "the server has the request and never commits it", "server",
        "look for a lost completion in the server (its threads' user stacks); then " + _RESTART)
    TARGET_SLOW = ("H1", SLOW, "the server has the request and waits for its own target's I/O", "target I/O",
        "look at the target: backing device, file system or peer; ublk itself is not stuck")
    SERVER_STOPPED = ("H1", HANG, "the server is stopped (signal or debugger)", "server",
        "kill -CONT the server, or end the debugger")
    SERVER_FROZEN = (
        "H1", HANG, "the server is frozen (docker pause, cgroup.freeze, systemctl freeze, suspend)", "server",
        "thaw the cgroup that the evidence names, by who froze it")
    SERVER_THROTTLED = ("H1", SLOW, "the server's cgroup has used up its CPU quota", "CPU quota",
        "raise or remove the quota (cpu.max, docker --cpus, CPUQuota=); a restart changes nothing. If it then takes "
        "nothing still, it spins: perf top")
    SERVER_WITHOUT_CPU = ("H1", SLOW, "the server is ready to run and gets no CPU", "scheduler",
        "look at what runs on its CPU (real-time tasks, a CPU set, SCHED_IDLE); a restart changes nothing")
    SERVER_NOT_REAPING = ("H1", HANG, "the server does not enter the kernel to fetch what waits for it", "server",
        "see what its thread does instead (gdb -p, perf top); then " + _RESTART)
    CQ_OVERFLOW = ("H1", HANG, "the completion queue of the server's ring has overflowed", "server",
        "enter the ring with IORING_ENTER_GETEVENTS; give it a larger CQ")
    COMMIT_NOT_SUBMITTED = ("H1", HANG, "the server has written SQEs and not submitted them", "server",
        "the server lacks an io_uring_enter() after preparing its commit")
    SERVER_WAITS_FOR_ITSELF = ("H12", HANG, "the server does I/O on the device that it serves", "server",
        "kill the server; let its threads set PR_SET_IO_FLUSHER and never touch the device")
    MEMORY_RECLAIM_LOOP = (
        "H12", HANG, "the server waits in memory reclaim for pages that only it can write back", "server",
        "kill the server; its threads need PR_SET_IO_FLUSHER and mlockall()")
    SERVER_EXIT_FLUSHES = ("H11", HANG, "the exiting server waits for a file system on its own device", "server",
        "keep the mount out of the server's mount namespace; now only a reboot helps")
    SERVER_EXITING = ("H11", HANG, "the server was killed, and a thread of it that waits cannot end", "target I/O",
        "look at what the thread waits for (evidence): its backing device, file system or peer; no further signal "
        "helps")
    SERVER_EXIT_WAITS_IO = (
        "H11", HANG, "the server is gone, and its ring waits for I/O of its own target", "target I/O",
        "look at the server's backing device, file system or peer; the device is given back when that I/O ends")
    BUFFER_REFERENCE = ("H2", HANG, "the request is committed, but its buffer is still registered", "buffer reference",
        "the server must unregister the buffer (ring and slot are in the evidence); closing that ring unregisters it "
        "too")
    RELEASE_WAITS_REFERENCE = (
        "H2", HANG, "the server is gone, and a registered buffer keeps its requests", "buffer reference",
        "close the ring that has the buffer (evidence names its users)")
    TASK_WORK_LOST = ("H3", DEFECT, "the request was handed to task work that is not queued anywhere", "task work",
        "a kernel defect: keep 'ublk-dump --record' and report it; " + _RESTART)
    ENDLESS_CANCEL = ("H4", DEFECT, "the kernel cancels the server's commands in a loop without an end", "teardown",
        "a kernel worker runs in the loop in every sample, which no server can cause by itself: keep 'ublk-dump "
        "--record' and report it; only a reboot helps")
    ABORT_ORDER = ("H5", DEFECT, "requests wait to be requeued while the device is being torn down", "requeue list",
        "a kernel defect: keep 'ublk-dump --record' and report it; only a reboot helps")
    REQUEUE_NOT_KICKED = ("H5", HANG, "requests wait on the requeue list and nobody works on it", "requeue list",
        "any new I/O to the device, or restarting the server, may kick the list")
    CHARDEV_HELD = ("H6", HANG, "the server is gone, but somebody still has its char device open", "teardown",
        "end the processes named in the evidence, or close their descriptors")
    DELETE_WAITS_CLOSE = ("H17", HANG, "the deleted device waits for its last user", "teardown",
        "close what is named in the evidence; 'del' may be interrupted, the device goes by itself")
    START_WAITS_FETCH = ("H7", HANG, "START_DEV or END_USER_RECOVERY waits until all tags are fetched", "server",
        "the server must fetch the tags that are missing (queues in the evidence)")
    COMMAND_NOT_STARTED = ("H8", HANG, "a control command waits for an io-wq worker that does not take it", "io-wq",
        "seen on 6.18 and 7.0, cause not known: keep 'ublk-dump --record' and report it; kill the issuing process")
    CONTROL_MUTEX_ORPHAN = ("H9", HANG, "ublk_ctl_mutex belongs to a task that is dead", "control path",
        "look for an oops in dmesg; no device can be added or deleted until a reboot")
    PARTITION_SCAN = ("H10", CONSEQUENCE, "a partition scan holds the disk's open_mutex and waits for I/O", "client",
        "solve what holds the I/O; add devices with UBLK_F_NO_AUTO_PART_SCAN")
    OPEN_MUTEX_DEADLOCK = ("H10", HANG, "the server waits for open_mutex, whose holder waits for the server", "server",
        "kill the server")
    NO_FETCH_COMMAND = (
        "H13", HANG, "tags wait in the driver, and the server has no fetch command pending", "driver fifo",
        "the server must issue FETCH_IO_CMDS again (it ends with ENOBUFS when provided buffers run out)")
    FIFO_STRANDED = ("H14", DEFECT, "tags were left in the driver's fifo after the server was gone", "driver fifo",
        "a kernel defect (fixed in 7.3): report it; only a reboot helps")
    TAG_STARVATION = ("H15", INFO, "all tags are taken and tasks wait for one; this alone is not a hang", "tag wait",
        "a deeper queue, if the device should take more")
    WAITS_RECOVERY = ("H16", HANG, "the server is gone and the device waits for a new one", "recovery",
        "start the server's recovery (START_USER_RECOVERY, fetch, END_USER_RECOVERY), or delete the device; then the "
        "waiting I/O fails")
    RECOVERY_UNFINISHED = ("H16", HANG, "a new server has opened the device and has not ended the recovery", "recovery",
        "the new server must fetch all tags and send END_USER_RECOVERY")
    FAIL_IO = ("H16", INFO, "the server is gone; by its recovery policy all I/O fails", "recovery",
        "start the server's recovery, or delete the device")
    DEVICE_DEAD = ("-", INFO, "the device is dead; nothing waits for it", "nobody",
        "delete it")
    STOP_WAITS_IO = ("H1", CONSEQUENCE, "STOP_DEV or DEL_DEV waits for I/O that does not end", "teardown",
        "solve what holds the I/O; the command and everybody who waits for its mutex then go on")
    CONTROL_WAITS_MUTEX = ("H1", CONSEQUENCE, "a control command waits for a mutex", "control path",
        "look at the holder")
    CHAIN = ("H1", CONSEQUENCE, "a client of this device is itself the server of another ublk device", "target I/O",
        "look at the device at the end of the chain first")
    QUIESCE_HELD = ("D1", DEFECT, "the device was quiesced while the server held every tag", "server",
        "the kernel will not tell the server: kill and recover it (a fix is posted, not in 7.3.4: see docs/reports)")
    QUIESCE_IGNORED = ("H16", HANG, "the quiesced server was told so and does not end", "server",
        "end the server (it was sent ABORT) and recover the device; new I/O waits until then")
    QUIESCE_WAITS_IO = ("H16", SLOW, "the quiesced server has to finish the I/O that it holds", "server",
        "wait for the server, or kill and recover it")
    QUIESCE_MISSED = ("D1", DEFECT, "the device is quiesced and its server was never told", "driver",
        "kill the server and recover: new I/O is only requeued (a fix is posted, not in 7.3.4: see docs/reports)")
    CANCEL_LIVELOCK = (
        "D2", DEFECT, "the ring's teardown waits for a command that waits for the ring's own buffer", "driver",
        "only a reboot helps; keep 'ublk-dump --record' (see docs/reports)")
    QUEUE_FROZEN = ("-", HANG, "the request queue is frozen and nobody in this dump thaws it", "block layer",
        "find who froze it: sysfs writes to the queue, another driver, CPU hotplug")
    QUEUE_QUIESCED = ("-", HANG, "the request queue is quiesced, so nothing is dispatched", "block layer",
        "find who quiesced it: STOP_DEV in progress, or a cancel that did not end")
    BROKEN_INVARIANT = ("-", SLOW, "an io command is in a state that the driver never makes", "unknown",
        "the dump may be torn: repeat it; if it stays, it is a kernel defect or a table of ours that does not fit "
        "this kernel")
    UNKNOWN = ("-", HANG, "requests are stuck in a way that the catalogue does not have", "unknown",
        "the facts are in the dump; keep 'ublk-dump --record' and report it")

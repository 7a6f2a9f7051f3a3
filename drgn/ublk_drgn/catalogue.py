# SPDX-License-Identifier: MIT
"""The ways in which ublk gets stuck: id, what it means, whose turn it is, and what to do next.

H1 to H17 are the ids of docs/ublk-dump.md; D1 and D2 are defects of the driver, described in docs/reports.
"""

from __future__ import annotations

import dataclasses

# Severities, worst first. The first three end the program with exit code 1.
DEFECT, HANG, CONSEQUENCE, SLOW, INFO = "defect", "hang", "consequence", "slow", "info"
STUCK = (DEFECT, HANG, CONSEQUENCE)
ORDER = (DEFECT, HANG, CONSEQUENCE, SLOW, INFO)


@dataclasses.dataclass(frozen=True)
class Entry:
    id: str
    title: str
    owner: str
    next_step: str


_RESTART = ("restart the server; without recovery flags the held I/O then fails with EIO, with "
            "USER_RECOVERY_REISSUE it is served again")
CATALOGUE = {
    "SERVER_HOLDS_IO": Entry("H1", "the server has the request and never commits it", "server",
                             f"look for a lost completion in the server (its threads' user stacks); then {_RESTART}"),
    "TARGET_SLOW": Entry("H1", "the server has the request and waits for its own target's I/O", "target I/O",
                         "look at the target: backing device, file system or peer; ublk itself is not stuck"),
    "SERVER_STOPPED": Entry("H1", "the server is stopped (signal, debugger or freezer)", "server",
                            "kill -CONT the server, end the debugger, or thaw its cgroup"),
    "SERVER_NOT_REAPING": Entry("H1", "the server does not enter the kernel to fetch what waits for it", "server",
                                "see what its thread does instead (gdb -p, perf top); then " + _RESTART),
    "CQ_OVERFLOW": Entry("H1", "the completion queue of the server's ring has overflowed", "server",
                         "enter the ring with IORING_ENTER_GETEVENTS; give it a larger CQ"),
    "COMMIT_NOT_SUBMITTED": Entry("H1", "the server has written SQEs and not submitted them", "server",
                                  "the server lacks an io_uring_enter() after preparing its commit"),
    "SERVER_WAITS_FOR_ITSELF": Entry("H12", "the server does I/O on the device that it serves", "server",
                                     "kill the server; let its threads set PR_SET_IO_FLUSHER and never touch the device"),
    "MEMORY_RECLAIM_LOOP": Entry("H12", "the server waits in memory reclaim for pages that only it can write back",
                                 "server", "kill the server; its threads need PR_SET_IO_FLUSHER and mlockall()"),
    "SERVER_EXIT_FLUSHES": Entry("H11", "the exiting server waits for a file system on its own device", "server",
                                 "keep the mount out of the server's mount namespace; now only a reboot helps"),
    "BUFFER_REFERENCE": Entry("H2", "the request is committed, but its buffer is still registered", "buffer reference",
                              "the server must unregister the buffer (ring and slot are in the evidence); closing "
                              "that ring unregisters it too"),
    "RELEASE_WAITS_REFERENCE": Entry("H2", "the server is gone, and a registered buffer keeps its requests",
                                     "buffer reference", "close the ring that has the buffer (evidence names its users)"),
    "TASK_WORK_LOST": Entry("H3", "the request was handed to task work that is not queued anywhere", "task work",
                            "a kernel defect: keep 'ublk-dump --record' and report it; " + _RESTART),
    "ENDLESS_CANCEL": Entry("H4", "the kernel cancels the server's commands in a loop without an end", "teardown",
                            "a kernel defect: keep 'ublk-dump --record' and report it; only a reboot helps"),
    "ABORT_ORDER": Entry("H5", "requests wait to be requeued while the device is being torn down", "requeue list",
                         "a kernel defect: keep 'ublk-dump --record' and report it; only a reboot helps"),
    "REQUEUE_NOT_KICKED": Entry("H5", "requests wait on the requeue list and nobody works on it", "requeue list",
                                "any new I/O to the device, or restarting the server, may kick the list"),
    "CHARDEV_HELD": Entry("H6", "the server is gone, but somebody still has its char device open", "teardown",
                          "end the processes named in the evidence, or close their descriptors"),
    "DELETE_WAITS_CLOSE": Entry("H17", "the deleted device waits for its last user", "teardown",
                                "close what is named in the evidence; 'del' may be interrupted, the device goes by itself"),
    "START_WAITS_FETCH": Entry("H7", "START_DEV or END_USER_RECOVERY waits until all tags are fetched", "server",
                               "the server must fetch the tags that are missing (queues in the evidence)"),
    "COMMAND_NOT_STARTED": Entry("H8", "a control command waits for an io-wq worker that does not take it",
                                 "io-wq", "a kernel defect (seen on 6.18 and 7.0): kill the issuing process"),
    "CONTROL_MUTEX_ORPHAN": Entry("H9", "ublk_ctl_mutex belongs to a task that is dead", "control path",
                                  "look for an oops in dmesg; no device can be added or deleted until a reboot"),
    "PARTITION_SCAN": Entry("H10", "a partition scan holds the disk's open_mutex and waits for I/O", "client",
                            "solve what holds the I/O; add devices with UBLK_F_NO_AUTO_PART_SCAN"),
    "OPEN_MUTEX_DEADLOCK": Entry("H10", "the server waits for open_mutex, whose holder waits for the server", "server",
                                 "kill the server"),
    "NO_FETCH_COMMAND": Entry("H13", "tags wait in the driver, and the server has no fetch command pending",
                              "driver fifo", "the server must issue FETCH_IO_CMDS again (it ends with ENOBUFS when "
                              "provided buffers run out)"),
    "FIFO_STRANDED": Entry("H14", "tags were left in the driver's fifo after the server was gone", "driver fifo",
                           "a kernel defect (fixed in 7.3): report it; only a reboot helps"),
    "TAG_STARVATION": Entry("H15", "all tags are taken and tasks wait for one; this alone is not a hang", "tag wait",
                            "a deeper queue, if the device should take more"),
    "WAITS_RECOVERY": Entry("H16", "the server is gone and the device waits for a new one", "recovery",
                            "start the server's recovery (START_USER_RECOVERY, fetch, END_USER_RECOVERY), or delete "
                            "the device; then the waiting I/O fails"),
    "RECOVERY_UNFINISHED": Entry("H16", "a new server has opened the device and has not ended the recovery", "recovery",
                                 "the new server must fetch all tags and send END_USER_RECOVERY"),
    "FAIL_IO": Entry("H16", "the server is gone; by its recovery policy all I/O fails", "recovery",
                     "start the server's recovery, or delete the device"),
    "DEVICE_DEAD": Entry("-", "the device is dead; nothing waits for it", "nobody", "delete it"),
    "STOP_WAITS_IO": Entry("H1", "STOP_DEV or DEL_DEV waits for I/O that does not end", "teardown",
                           "solve what holds the I/O; the command and everybody who waits for its mutex then go on"),
    "CONTROL_WAITS_MUTEX": Entry("H1", "a control command waits for a mutex", "control path",
                                 "look at the holder"),
    "CHAIN": Entry("H1", "a client of this device is itself the server of another ublk device", "target I/O",
                   "look at the device at the end of the chain first"),
    "QUIESCE_HELD": Entry("D1", "the device was quiesced while the server held every tag", "server",
                          "the kernel will not tell the server: kill and recover it (see docs/reports)"),
    "QUIESCE_WAITS_IO": Entry("H16", "the quiesced server has to finish the I/O that it holds", "server",
                              "wait for the server, or kill and recover it"),
    "QUIESCE_MISSED": Entry("D1", "the device is quiesced and its server was never told", "driver",
                            "kill the server and recover: new I/O is only requeued (see docs/reports)"),
    "CANCEL_LIVELOCK": Entry("D2", "the ring's teardown waits for a command that waits for the ring's own buffer",
                             "driver", "only a reboot helps; keep 'ublk-dump --record' (see docs/reports)"),
    "QUEUE_FROZEN": Entry("-", "the request queue is frozen and nobody in this dump thaws it", "block layer",
                          "find who froze it: sysfs writes to the queue, another driver, CPU hotplug"),
    "QUEUE_QUIESCED": Entry("-", "the request queue is quiesced, so nothing is dispatched", "block layer",
                            "find who quiesced it: STOP_DEV in progress, or a cancel that did not end"),
    "BROKEN_INVARIANT": Entry("-", "an io command is in a state that the driver never makes", "unknown",
                              "the dump may be torn: repeat it; if it stays, it is a kernel defect or a table of "
                              "ours that does not fit this kernel"),
    "UNKNOWN": Entry("-", "requests are stuck in a way that the catalogue does not have", "unknown",
                     "the facts are in the dump; keep 'ublk-dump --record' and report it"),
}

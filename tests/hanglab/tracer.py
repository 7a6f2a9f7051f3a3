#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""tracer.py PID: stops all threads of a process as a debugger does, and stays."""

import ctypes
import os
import pathlib
import signal
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # include/uapi/linux/ptrace.h


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for task in pathlib.Path(f"/proc/{sys.argv[1]}/task").iterdir():
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            if libc.ptrace(request, int(task.name), None, None) < 0:
                sys.exit(f"ptrace {task.name}: {os.strerror(ctypes.get_errno())}")
    print("traced", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()

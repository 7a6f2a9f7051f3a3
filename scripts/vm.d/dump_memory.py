# SPDX-License-Identifier: MIT
"""Writes a guest's memory to /run/vm/vmcore through QEMU's control socket, then ends QEMU. Runs in the sandbox."""

import json
import socket
import sys
import typing


def command(stream: typing.TextIO, name: str, **arguments: object) -> None:
    """Sends one command and waits for its answer; events are passed over."""
    stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
    stream.flush()
    for line in stream:
        answer = json.loads(line)
        if "error" in answer:
            sys.exit(f"{name}: {answer['error']['desc']}")
        if "return" in answer:
            return
    sys.exit(f"{name}: QEMU has hung up")


def main() -> None:
    control = socket.socket(socket.AF_UNIX)
    control.settimeout(600)
    control.connect("/run/vm/sock/qmp")
    stream = control.makefile("rw")
    stream.readline()  # the greeting
    command(stream, "qmp_capabilities")
    # Not kdump-zlib: drgn 0.0.31 with libkdumpfile 0.5.4 cannot read QEMU's.
    command(stream, "dump-guest-memory", paging=False, protocol="file:/run/vm/vmcore")
    # Its answer is waited for: QEMU forgets the commands of a connection that ends.
    command(stream, "quit")


main()

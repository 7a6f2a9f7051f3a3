# SPDX-License-Identifier: MIT
"""What can end a dump, each with its exit code and one line for the user."""

from __future__ import annotations

import os

EXIT_NOTHING = 0
EXIT_STUCK = 1
EXIT_USAGE = 2
EXIT_CANNOT_READ = 3
EXIT_PARTIAL = 4
EXIT_NO_DRIVER = 5


class DumpError(Exception):
    """Ends the program: operation, object, cause, and what to do about it."""

    exit_code = EXIT_CANNOT_READ

    def __init__(self, operation: str, subject: str, cause: str, advice: str = "") -> None:
        line = f"{operation} {subject}: {cause}"
        super().__init__(f"{line}: {advice}" if advice else line)


class CannotRead(DumpError):
    """The kernel's memory, types or symbols are out of reach."""


class OutOfTime(CannotRead):
    """Reading went on for longer than it may: memory that is damaged, or was used anew meanwhile, can lead anywhere."""


class NoDriver(DumpError):
    exit_code = EXIT_NO_DRIVER


class BadUsage(DumpError):
    exit_code = EXIT_USAGE


class Fault(Exception):
    """An address that cannot be read. Never ends a dump: what was to be read there is reported as missing."""

    def __init__(self, address: int, what: str = "") -> None:
        super().__init__(f"cannot read {what + ' at ' if what else ''}{address:#x}")
        self.address = address


class Implausible(ValueError):
    """What was read cannot be what it should be: it was torn, or freed and used anew."""


class MissingType(Exception):
    """A type or member that this kernel's type information does not have."""


def errno_text(error: OSError) -> str:
    number = error.errno or 0
    return f"{os.strerror(number)} (errno {number})"

# SPDX-License-Identifier: MIT
"""stdin, stdout and stderr as a program is given them: closed, full, or read by nobody."""

import errno
import os
import signal
import sys
from collections.abc import Callable

EXIT_USAGE = 2


class CannotWrite(BaseException):
    """Results do not reach stdout. No error of what is computed, so no handler of such errors is to take it."""


class _Stream:
    encoding = "utf-8"
    errors = "backslashreplace"  # names of files may be any bytes

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write(self, text: str) -> int:
        data = text.encode(errors=self.errors)
        try:
            while data:
                data = data[os.write(self.descriptor, data):]
        except OSError as error:
            if self.descriptor == 1:  # that nobody reads stderr is no error
                raise CannotWrite(error) from error
        return len(text)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)


def _prepare() -> None:
    # The wrong way round: what is written to a stream that was closed fails as before.
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if descriptor == 0 else os.O_RDONLY)
    sys.stdout, sys.stderr = _Stream(1), _Stream(2)


def run(main: Callable[[str, list[str]], int], program: str, arguments: list[str]) -> int | str | None:
    """The exit code of main(); results that cannot be written are an error, but for a reader that has left."""
    _prepare()
    # As Ctrl-C: what is half-written is taken back on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return main(program, arguments)
    except SystemExit as end:
        return end.code
    except KeyboardInterrupt:
        return 130
    except CannotWrite as failure:
        error = failure.args[0]
        if error.errno == errno.EPIPE:
            return 0
        print(f"{program}: write the results to stdout: {error.strerror}", file=sys.stderr)
        return EXIT_USAGE

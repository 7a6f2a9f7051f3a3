# SPDX-License-Identifier: MIT
"""Recordings: the pages, symbols, stacks and types that a dump used, in one file that replays anywhere.

A recording is what to attach to a bug report: it holds the kernel memory that was read, and nothing of user space but
what the kernel keeps of it (command names, block requests, no file contents).
"""

from __future__ import annotations

import base64
import json
import lzma
import os
import tempfile
import typing

import drgn

from .attach import checked_blob, given_dwarf, over
from .btf_reduce import reduce
from .errors import CannotRead, Fault, errno_text
from .kallsyms import RecordedSymbols, RememberedSymbols, Symbol
from .kernel import LOOKS_AT, Kernel
from .memory import LINE, PAGE, Memory, line_mask
from .type_finder import TypeFinder

SCHEMA = "ublk-dump-recording"
SCHEMA_VERSION = 1
_NOWHERE = "-"


class Recorder:
    """Collects samples; `write` makes the file."""

    def __init__(self, kernel: Kernel) -> None:
        if kernel.finder is None:
            raise CannotRead("record", "the dump", "its types come from DWARF", "use --types btf with --record")
        self.kernel, self.finder = kernel, kernel.finder
        self.samples: list[dict[str, typing.Any]] = []

    def add(self, stacks: dict[int, list[str]]) -> None:
        """Keeps the sample that was just taken."""
        memory = self.kernel.memory
        pages = {f"{number:x}": kept(memory.pages.get(number), mask) for number, mask in sorted(memory.touched.items())}
        self.samples.append({"now_ns": self.kernel.now_ns, "pages": pages,
                             "stacks": {f"{address:#x}": stack for address, stack in stacks.items()}})

    def document(self) -> dict[str, typing.Any]:
        symbols = self.kernel.symbols
        types = reduce(self.finder.blobs, set(self.finder.built))
        return {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "looks_at": LOOKS_AT, "kernel": self.kernel.release,
                "platform": platform_words(self.kernel.prog), "types": base64.b64encode(types).decode(),
                "names": symbols.names,
                "addresses": {f"{address:x}": symbol for address, symbol in symbols.addresses.items()},
                "samples": self.samples}

    def write(self, path: str) -> None:
        data = lzma.compress(json.dumps(self.document(), separators=(",", ":")).encode(), preset=6)
        try:
            replace_file(path, data)
        except OSError as error:
            raise CannotRead("write", path, errno_text(error), "") from error


def replace_file(path: str, data: bytes) -> None:
    """The whole file or none. What is no regular file cannot be replaced and is written to."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with open(target, "wb") as special:
            special.write(data)
        return
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(target), prefix=".ublk-dump.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, target)
        except BaseException:
            os.unlink(file.name)
            raise


def kept(page: bytes | None, mask: int) -> list[str]:
    """The lines of a page that were read: which, and their bytes. What was not looked at is nobody's business."""
    if page is None:
        return [f"{mask:x}", _NOWHERE]
    lines = b"".join(page[number * LINE:(number + 1) * LINE] for number in bits(mask))
    return [f"{mask:x}", base64.b64encode(lines).decode()]


def bits(mask: int) -> list[int]:
    return [number for number in range(PAGE // LINE) if mask >> number & 1]


class RecordedMemory(Memory):
    """A line that was not recorded is a fault, never zeros."""

    def __init__(self) -> None:
        super().__init__(self._page_of)
        self.recorded: dict[str, list[str]] = {}

    def _page_of(self, address: int, size: int) -> bytes:
        mask, text = self.recorded.get(f"{address // PAGE:x}", ("0", _NOWHERE))
        if size != PAGE or text == _NOWHERE:
            raise Fault(address)
        data, page = base64.b64decode(text), bytearray(PAGE)
        for place, number in enumerate(bits(int(mask, 16))):
            page[number * LINE:(number + 1) * LINE] = data[place * LINE:(place + 1) * LINE]
        return bytes(page)

    def read(self, address: int, size: int) -> bytes:
        for number in range(address // PAGE, (address + max(size, 1) - 1) // PAGE + 1):
            start, end = max(address, number * PAGE), min(address + size, (number + 1) * PAGE)
            wanted = line_mask(start % PAGE, end - start)
            if wanted & ~int(self.recorded.get(f"{number:x}", ("0",))[0], 16):
                raise Fault(address, "what was not recorded")
        return super().read(address, size)


def platform_words(prog: drgn.Program) -> list[str]:
    assert prog.platform is not None
    return [prog.platform.arch.name]


class Replay:
    """A recording as a kernel; `sample` switches from one sample to the next."""

    def __init__(self, path: str, dwarf_files: list[str] | None = None) -> None:
        self.data = load(path)
        self.samples = self.data["samples"]
        memory = self._memory = RecordedMemory()
        try:
            platform = drgn.Platform(drgn.Architecture[self.data["platform"][0]])
            symbols = RememberedSymbols(RecordedSymbols(
                self.data["names"], {int(address, 16): Symbol(*row) if row else None
                                     for address, row in self.data["addresses"].items()}))
            blob = checked_blob(base64.b64decode(self.data["types"]), "recording")
        except (KeyError, TypeError, ValueError) as error:
            raise CannotRead("read", path, f"it lacks or garbles {error}", "the recording is damaged") from error
        prog = given_dwarf(platform, memory, dwarf_files) if dwarf_files else over(memory, platform)
        self.kernel = Kernel(prog, memory, symbols, source="recording", types_from="DWARF" if dwarf_files else "BTF",
                             release=str(self.data["kernel"]), finder=None if dwarf_files else TypeFinder(prog, blob))
        self.kernel.looks_at = self.looks_at()

    def looks_at(self) -> int:
        found = self.data.get("looks_at", 1)
        return found if isinstance(found, int) else 1

    def select(self, number: int) -> dict[str, list[str]]:
        """Makes a sample current and returns its stacks."""
        sample = self.samples[number]
        self._memory.recorded = sample["pages"]
        self.kernel.memory.forget()
        self.kernel.now_ns = sample["now_ns"]
        return dict(sample["stacks"])


def load(path: str) -> dict[str, typing.Any]:
    try:
        with lzma.open(path) as file:
            data = json.loads(file.read())
    except OSError as error:
        raise CannotRead("open", path, errno_text(error), "") from error
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise CannotRead("read", path, f"it is not a recording ({error})", "ublk-dump --record makes one") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or data.get("schema_version") != SCHEMA_VERSION:
        raise CannotRead("read", path, "it is not a recording of a version that this program knows", "")
    return data

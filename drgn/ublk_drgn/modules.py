# SPDX-License-Identifier: MIT
"""Loaded modules as a dump has them: their symbols and their BTF. Live, /proc and /sys give both."""

from __future__ import annotations

import functools
import struct

from .kernel import Kernel
from .layout import View

_ELF_SYMBOL = struct.Struct("<IBBHQQ")


def loaded(kernel: Kernel) -> list[View]:
    head = kernel.symbols.address("modules")
    if head is None:
        kernel.note_missing("variable", "modules")
        return []
    return [kernel.container("module", "list", node) for node in kernel.memory.list_nodes(head, 10_000)]


def symbols(kernel: Kernel) -> list[tuple[int, str, str | None]]:
    """Rows of all modules' symbol tables; a module that cannot be read is noted and left out."""
    rows: list[tuple[int, str, str | None]] = []
    for module in kernel.attempt("list of modules", lambda: loaded(kernel), []):
        rows += kernel.attempt("symbols of a module", functools.partial(of_module, kernel, module), [])
    return rows


def of_module(kernel: Kernel, module: View) -> list[tuple[int, str, str | None]]:
    table = module.follow("kallsyms", "mod_kallsyms")
    if table is None:
        return []
    name, count = module.text("name"), table.need("num_symtab")
    data = kernel.memory.read(table.need("symtab"), count * _ELF_SYMBOL.size) if count else b""
    strings, rows = table.need("strtab"), []
    for name_offset, _info, _other, section, value, _size in _ELF_SYMBOL.iter_unpack(data):
        if name_offset and section and value:
            rows.append((value, kernel.memory.string(strings + name_offset), name))
    return rows


def btf_of_module(kernel: Kernel, wanted: str) -> bytes | None:
    """The bytes of a module's split BTF, as btf_idr keeps them."""
    from .xarray import entries

    address = kernel.symbols.address("btf_idr")
    if address is None:
        kernel.note_missing("variable", "btf_idr")
        return None
    for _index, entry in entries(kernel, address + kernel.layout("idr").locate("idr_rt")[0] // 8):
        found = kernel.view("btf", entry)
        if found.text("name") == wanted and found.get("kernel_btf"):
            return kernel.memory.read(found.need("data"), found.need("data_size"))
    return None

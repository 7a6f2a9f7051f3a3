#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Names of addresses: out of the text of /proc/kallsyms, and out of rows as a memory dump gives them."""

import unittest

import dump_paths  # noqa: F401  (finds the package)

from ublk_drgn.kallsyms import TableSymbols, TextSymbols

ROWS = [(0x1000, "first", None), (0x2000, "__do_sys_pause", None), (0x2000, "__se_sys_pause", None),
        (0x2000, "__x64_sys_pause", None), (0x3000, "last", None), (0x9000, "ublk_queue_rq", "ublk_drv")]
TEXT = "".join(f"{address:016x} t {name}" + (f"\t[{module}]" if module else "") + "\n"
               for address, name, module in ROWS).encode()


class Symbols(unittest.TestCase):
    def test_names(self):
        for symbols in (TextSymbols(TEXT), TableSymbols(ROWS)):
            for address, name in ((0xFFF, "None"), (0x1000, "first+0x0"), (0x1FFF, "first+0xfff"),
                                  (0x2000, "__do_sys_pause+0x0"), (0x2005, "__do_sys_pause+0x5"), (0x3000, "last+0x0"),
                                  (0x9010, "ublk_queue_rq+0x10 [ublk_drv]")):
                with self.subTest(kind=type(symbols).__name__, address=hex(address)):
                    self.assertEqual(str(symbols.at(address)), name)

    def test_addresses(self):
        for symbols in (TextSymbols(TEXT), TableSymbols(ROWS)):
            self.assertEqual([symbols.address(name) for name in ("__x64_sys_pause", "ublk_queue_rq", "sys_pause")],
                             [0x2000, 0x9000, None])


if __name__ == "__main__":
    unittest.main(verbosity=2)

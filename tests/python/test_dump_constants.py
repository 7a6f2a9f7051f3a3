#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Tables of constants against the kernel's headers where they are installed; decoding of flags and states."""

import pathlib
import re
import unittest

import dump_paths  # noqa: F401  (finds the package)

from ublk_drgn import constants as c

UBLK = pathlib.Path("/usr/include/linux/ublk_cmd.h")
IO_URING = pathlib.Path("/usr/include/linux/io_uring.h")


def shifts(text, prefix):
    """NAME: bit of '#define PREFIX_NAME (1UL << bit)'."""
    return {name: int(bit) for name, bit in re.findall(rf"#define\s+{prefix}(\w+)\s+\(1U?L?L?\s*<<\s*(\d+)\)", text)}


class Headers(unittest.TestCase):
    def setUp(self):
        if not UBLK.exists() or "UBLK_F_BATCH_IO" not in UBLK.read_text():
            self.skipTest("no <linux/ublk_cmd.h> of Linux 7.0 or newer")

    def compare(self, table, header):
        ours = {bit.name: bit.mask.bit_length() - 1 for bit in table.bits}
        self.assertEqual({name: bit for name, bit in ours.items() if name in header},
                         {name: header[name] for name in ours if name in header})
        self.assertGreater(len(set(ours) & set(header)), len(ours) * 2 // 3, (ours, header))

    def test_device_flags(self):
        self.compare(c.DEVICE_FLAGS, shifts(UBLK.read_text(), "UBLK_F_"))

    def test_parameter_types(self):
        self.compare(c.PARAM_TYPES, shifts(UBLK.read_text(), "UBLK_PARAM_TYPE_"))

    def test_ring_flags(self):
        self.compare(c.RING_SETUP, shifts(IO_URING.read_text(), "IORING_SETUP_"))

    def test_states(self):
        found = {int(value): name for name, value in re.findall(r"#define\s+UBLK_S_DEV_(\w+)\s+(\d+)", UBLK.read_text())}
        self.assertEqual(found, c.DEVICE_STATES)

    def test_control_commands(self):
        text = UBLK.read_text()
        found = {name: int(value, 16) for name, value in re.findall(r"#define\s+UBLK_CMD_(\w+)\s+(0x\w+)", text)}
        found |= {name: int(value, 16) for name, value in re.findall(
            r"#define\s+UBLK_U_CMD_(\w+)\s*\\?\s*_IO\w*\('u',\s*(0x\w+)", text)}
        ours = {name: number for number, name in c.CONTROL_COMMANDS.items()}
        self.assertEqual({name: ours[name] for name in ours if name in found}, {
            name: found[name] for name in ours if name in found})
        self.assertGreater(len(set(ours) & set(found)), 14)


class Decoding(unittest.TestCase):
    def test_unknown_bits_are_shown(self):
        self.assertEqual(c.IO_FLAGS.names(0x80000023), ["ACTIVE", "OWNED_BY_SRV", "CANCELED", "bit5?"])
        self.assertEqual(c.IO_FLAGS.names(0), [])
        self.assertEqual(c.IO_FLAGS.names(None), [])
        self.assertFalse(c.io_flags_known(0x20))
        self.assertTrue(c.io_flags_known(0x8000001F))

    def test_owner_of_a_mutex_is_signed_in_memory(self):
        self.assertEqual(c.mutex_task(-0xDF2D4BFE72B97F), 0xFF20D2B4018D4680)
        self.assertEqual(c.mutex_task(0), 0)

    def test_task_states(self):
        for state, exit_state, letter in ((0, 0, "R"), (1, 0, "S"), (2, 0, "D"), (0x402, 0, "I"), (0x104, 0, "T"),
                                          (8, 0, "t"), (0x80, 0x20, "Z"), (0x80, 0x10, "X"), (0x8000, 0, "F"),
                                          (0x40, 0, "P"), (0x200, 0, "?")):
            self.assertEqual(c.task_state(state, exit_state), letter)


if __name__ == "__main__":
    unittest.main(verbosity=2)

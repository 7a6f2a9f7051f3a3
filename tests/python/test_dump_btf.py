#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The BTF parser on blobs made by hand, and on thousands of damaged ones: a line, never a traceback or a hang."""

import base64
import json
import lzma
import random
import struct
import time
import unittest

import dump_paths
from btf_builder import Builder

from ublk_drgn.btf import ARRAY, ENUM, ENUM64, STRUCT, Blob, BtfError


def sample():
    """A blob with every kind that is decoded further."""
    builder = Builder()
    number = builder.integer("unsigned int", 4)
    wide = builder.integer("long", 8, signed=True)
    builder.integer("_Bool", 1, boolean=True)
    inner = builder.struct("inner", 8, [("low", number, 0), ("high", number, 32)])
    table = builder.array(number, 4)
    builder.struct("outer", 40, [("inner", inner, 0), ("table", table, 64), ("self", builder.next_id + 1, 256)])
    builder.pointer(builder.next_id - 1)
    builder.struct("bits", 4, [("a", number, 0, 3), ("b", number, 3, 5), ("c", number, 8, 0)], flag=True)
    builder.enum("colour", [("RED", 0), ("BLUE", 7)])
    builder.enum("sign", [("MINUS", -1)], signed=True)
    builder.enum64("wide", [("BIG", 1 << 40), ("NEGATIVE", -2)], signed=True)
    builder.enum("", [("ANONYMOUS", 3)])
    builder.add(8, "word", wide)
    builder.add(7, "elsewhere")
    return builder


class Parser(unittest.TestCase):
    def setUp(self):
        self.blob = Blob(sample().blob(), "sample")

    def one(self, name):
        (found,) = self.blob.ids(name)
        return self.blob.head(found)

    def test_members_of_a_structure(self):
        members = self.blob.members(self.one("outer"))
        self.assertEqual([(member.name, member.bit_offset) for member in members],
                         [("inner", 0), ("table", 64), ("self", 256)])
        self.assertEqual(self.blob.array(self.blob.head(members[1].type_id)), (1, 4))
        self.assertEqual(self.blob.head(members[1].type_id).kind, ARRAY)

    def test_bit_fields(self):
        found = [(member.name, member.bit_offset, member.bit_size) for member in self.blob.members(self.one("bits"))]
        self.assertEqual(found, [("a", 0, 3), ("b", 3, 5), ("c", 8, 0)])

    def test_enumerations(self):
        self.assertEqual(self.blob.enumerators(self.one("colour")), [("RED", 0), ("BLUE", 7)])
        self.assertEqual(self.blob.enumerators(self.one("sign")), [("MINUS", -1)])
        self.assertEqual(self.blob.enumerators(self.one("wide")), [("BIG", 1 << 40), ("NEGATIVE", -2)])

    def test_enumeration_by_enumerator(self):
        for word, kind in (("BLUE", ENUM), ("NEGATIVE", ENUM64), ("ANONYMOUS", ENUM)):
            enum = self.blob.enum_with(word)
            assert enum is not None
            self.assertEqual(self.blob.head(enum).kind, kind)
        self.assertIsNone(self.blob.enum_with("GREEN"))

    def test_integers(self):
        self.assertEqual(self.blob.integer(self.one("long")), (True, False, 64))
        self.assertEqual(self.blob.integer(self.one("_Bool")), (False, True, 8))

    def test_names_that_are_not_there(self):
        self.assertEqual(self.blob.ids("nothing"), [])
        self.assertEqual(self.blob.ids("inne"), [])

    def test_split_blob_continues_ids_and_strings(self):
        split = Builder(self.blob.end_id, self.blob.first_string + self.blob.string_length)
        inner = self.blob.ids("inner")[0]
        split.struct("in_module", 8, [("part", inner, 0)])
        blob = Blob(split.blob(), "module", self.blob)
        (found,) = blob.ids("in_module")
        self.assertEqual(found, self.blob.end_id)
        self.assertEqual(blob.members(blob.head(found))[0].type_id, inner)
        self.assertEqual(blob.string(blob.head(inner).name_offset), "inner")
        self.assertEqual(blob.ids("inner"), [])  # a blob answers for itself
        self.assertEqual(blob.owner(inner).name, "sample")

    def test_kind_to_come_is_skipped_by_the_layout_section(self):
        builder = Builder()
        builder.add(33, "new", trailer=b"\0" * 8)
        number = builder.integer("int", 4)
        with self.assertRaisesRegex(BtfError, "kind 33, which is not known"):
            Blob(builder.blob(), "new kind")
        builder.layout = b"".join(struct.pack("<BBH", 8 if kind == 33 else 0, 0, 0) for kind in range(34))
        self.assertEqual(Blob(builder.blob(), "new kind").ids("int"), [number])

    def test_what_is_wrong_is_said(self):
        good = sample().blob()
        for data, word in ((b"", "less than a header"), (b"\x7fELF" + good[4:], "magic number"),
                           (good[:2] + b"\x09" + good[3:], "version 9"), (good[:-40], "truncated"),
                           (good[:-1] + b"x", "does not end with a zero"),
                           (good[:4] + struct.pack("<I", 1 << 30) + good[8:], "header length")):
            with self.assertRaisesRegex(BtfError, word):
                Blob(data, "bad")


class Damaged(unittest.TestCase):
    """Whatever the bytes are, the parser answers with a result or one BtfError, and soon."""

    ROUNDS = 4000

    def use(self, data):
        """All that the finder calls, on every type."""
        blob = Blob(data, "damaged")
        for type_id in range(1, min(blob.end_id, 400)):
            head = blob.head(type_id)
            blob.string(head.name_offset)
            if head.kind in (STRUCT, 5):
                for member in blob.members(head):
                    blob.head(member.type_id)
            elif head.kind in (ENUM, ENUM64):
                blob.enumerators(head)
            elif head.kind == ARRAY:
                blob.array(head)
        for name in ("inner", "outer", "colour", "ublk_io", "RED"):
            blob.ids(name)
            blob.enum_with(name)

    def fuzz(self, good, rounds):
        chance = random.Random(20261121)
        outcomes = {"read": 0, "refused": 0}
        began = time.monotonic()
        for _round in range(rounds):
            data = bytearray(good)
            for _change in range(chance.randint(1, 6)):
                action = chance.randrange(4)
                place = chance.randrange(len(data)) if data else 0
                if action == 0 and data:
                    data[place] ^= 1 << chance.randrange(8)
                elif action == 1:
                    data[place:place + 4] = struct.pack("<I", chance.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, len(good))))
                elif action == 2:
                    del data[place:place + chance.randint(1, 64)]
                else:
                    data[place:place] = chance.randbytes(chance.randint(1, 64))
            try:
                self.use(bytes(data))
                outcomes["read"] += 1
            except BtfError as error:
                self.assertNotIn("\n", str(error))
                outcomes["refused"] += 1
        self.assertLess(time.monotonic() - began, 200)
        # A fuzzer that only ever gets one answer tests nothing.
        self.assertGreater(min(outcomes.values()), rounds // 50, outcomes)

    def test_damaged_by_hand_made_blob(self):
        self.fuzz(sample().blob(), self.ROUNDS)

    def test_damaged_kernel_blob(self):
        recordings = sorted(dump_paths.RECORDINGS.glob("*.xz"))
        self.assertTrue(recordings)
        with lzma.open(recordings[0]) as file:
            types = base64.b64decode(json.load(file)["types"])
        self.use(types)
        self.fuzz(types, self.ROUNDS // 40)

    def test_random_bytes(self):
        chance = random.Random(7)
        for _round in range(500):
            with self.assertRaises(BtfError):
                Blob(chance.randbytes(chance.randrange(200)), "random")


if __name__ == "__main__":
    unittest.main(verbosity=2)

# SPDX-License-Identifier: MIT
"""The rules and the text over documents: what a test makes by hand, and what a recording gives, are JSON."""

import dump_paths  # noqa: F401  (finds the package)

from ublk_drgn import text, verdict
from ublk_drgn.document import from_json, to_json
from ublk_drgn.facts import Limits
from ublk_drgn.model import Dump


def read(document):
    return from_json(Dump, document) if document else None


def judge(document, earlier=None, limits=Limits()):
    return to_json(verdict.judge(read(document), read(earlier), limits))


def only_device(document, number):
    dump = read(document)
    verdict.only_device(dump, number)
    return to_json(dump)


def render(document):
    return text.render(read(document))

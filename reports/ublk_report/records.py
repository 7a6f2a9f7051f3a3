# SPDX-License-Identifier: MIT
"""Reads records and keeps of each sample what the report shows. Verdicts are not made here: they are the analyzers'."""

import collections
import dataclasses
import functools
import json
import pathlib
import statistics

from ublk_report import slices
from ublk_report.json_stream import Document

SCHEMA = "ublkbench.run/1"


class BadInput(Exception):
    """One line for the user; exit code 2."""


@dataclasses.dataclass
class Cell:
    """A cell's axes, and a list of values for each figure, in the order in which they were measured."""

    id: str
    kind: str
    mode: str
    target: str
    depth: int
    block_bytes: int
    pattern: str
    values: dict = dataclasses.field(default_factory=dict)
    orders: list = dataclasses.field(default_factory=list)
    failed: int = 0
    reason: str = ""
    latency: dict = dataclasses.field(default_factory=dict)  # {lowest value of a slot: count}, all samples together
    batches: dict = dataclasses.field(default_factory=dict)  # "fetch", "commit": {size: events}

    @property
    def is_control(self):
        return self.kind == "control"

    def median(self, figure):
        found = self.values.get(figure)
        return statistics.median(found) if found else None

    def spread(self, figure):
        found = self.values.get(figure)
        return (min(found), max(found)) if found else None

    @property
    def samples(self):
        return len(self.values.get("iops", ()))


@dataclasses.dataclass(eq=False)
class Run:
    """A record: what it is of, and its cells in the plan's order."""

    path: str
    run: dict
    env: dict
    cells: list

    @property
    def counts_instructions(self):
        return self.run.get("clock", "").startswith("icount")

    @property
    def time_unit(self):
        return "virtual ns (2 a instruction)" if self.counts_instructions else "ns"

    @functools.cache  # noqa: B019 (one run, and as long as the program)
    def axis(self, name):
        """The values of an axis, sorted where they are numbers, else as measured."""
        found = list(dict.fromkeys(getattr(cell, name) for cell in self.cells if not cell.is_control))
        return sorted(found) if found and isinstance(found[0], int) else found

    def select(self, control=False, **axes):
        """The cells with these values, from an index: a picture asks for each of its points, of thousands of cells."""
        return self._index(tuple(axes)).get((control, *axes.values()), ())

    @functools.cache  # noqa: B019
    def _index(self, names):
        index = collections.defaultdict(list)
        for cell in self.cells:
            index[cell.is_control, *(getattr(cell, name) for name in names)].append(cell)
        return index

    def has(self, figure):
        return any(figure in cell.values for cell in self.cells)


def _figures(sample):
    load = sample["load"]
    ios = load["measured_ios"]
    figures = {"iops": load["iops"], "ns_per_io": load["window_ns"] / ios}
    for key, name in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p999", "p999_ns")):
        if "latency_ns" in load:
            figures[name] = load["latency_ns"][key]
    figures |= {name: value for name, value in sample["per_io"].items() if value is not None}
    server = sample.get("server")
    if server:
        figures |= {"fetch_batch": server["fetch_batch"]["mean"], "commit_batch": server["commit_batch"]["mean"],
                    "enters": server["enters"] / ios}
    return figures


def _add_counts(into, pairs):
    for key, count in pairs:
        into[key] = into.get(key, 0) + count


def _add_sample(cell, sample, histograms):
    if sample["status"] != "ok" or not sample["load"]["measured_ios"]:
        cell.failed += 1
        cell.reason = sample.get("reason", "no I/O was measured")
        return
    for name, value in _figures(sample).items():
        cell.values.setdefault(name, []).append(value)
    cell.orders.append(sample["order"])
    if not histograms:
        return
    _add_counts(cell.latency, sample["load"].get("latency_ns", {}).get("slots", ()))
    for name in ("fetch", "commit") if sample.get("server") else ():
        _add_counts(cell.batches.setdefault(name, {}), sample["server"][f"{name}_batch"].get("size_events", ()))


class _Builder:
    """Keeps of each sample what the report shows, as it comes: samples are a hundred times that."""

    def __init__(self, path):
        self._path = path
        self.head = {}
        self._run = None
        self._early = []  # samples that stand before the cells
        self._problem = None

    def add(self, sample):
        if "cells" not in self.head:
            self._early.append(sample)
        elif self._problem is None:
            try:
                self._add(sample)
            except (KeyError, TypeError, AttributeError) as problem:
                self._problem = problem  # the schema, which may come last, explains more

    def _add(self, sample):
        if self._run is None:
            self._begin()
        cell = self._cells[sample["cell"]]
        _add_sample(cell, sample, histograms=cell.id in self._pictured)

    def _begin(self):
        cells = [Cell(entry["id"], entry["kind"], entry["mode"] or f"({entry['target']})", entry["target"],
                      entry["depth"], entry["block_bytes"], entry["pattern"]) for entry in self.head["cells"]]
        self._run = Run(str(self._path), {}, {}, cells)
        self._cells = {cell.id: cell for cell in cells}
        self._pictured = slices.with_histograms(self._run)

    def finish(self):
        if self.head["schema"] != SCHEMA:
            raise BadInput(f"{self._path}: its schema is '{self.head['schema']}'; this program reads '{SCHEMA}'")
        if self._problem is not None:
            raise self._problem
        if self._run is None:
            self._begin()
        for sample in self._early:
            self._add(sample)
        self._run.run, self._run.env = self.head["run"], self.head["env"]
        return self._run


def _read_document(path):
    builder = _Builder(path)
    for name, value in Document(path.read_text(encoding="utf-8")).members(stream="samples"):
        if name == "samples":
            for sample in value:
                builder.add(sample)
        else:
            builder.head[name] = value
    return builder.finish()


def _read_folder(path):
    builder = _Builder(path)
    builder.head = json.loads((path / "run.json").read_text(encoding="utf-8"))
    with open(path / "samples.jsonl", encoding="utf-8") as lines:
        for line in lines:
            builder.add(json.loads(line))
    return builder.finish()


def read_run(name):
    """A document of --json or a folder of --out."""
    path = pathlib.Path(name)
    try:
        return _read_folder(path) if path.is_dir() else _read_document(path)
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{name} is damaged, cut off, or no record of 'ublkbench run': {what}") from error

# SPDX-License-Identifier: MIT
"""Reads records and keeps of each sample what the report shows. Verdicts are not made here: they are the analyzers'."""

import collections
import dataclasses
import functools
import json
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from ublk_report import slices
from ublk_report.json_stream import Document

SCHEMA = "ublkbench.run/1"
PROBED = " + probes "  # between a mode and the probes that were attached: another series than the mode
# bench/base/percentile.hpp, values_needed(): fewer I/Os leave fewer than ten beyond the percentile.
IOS_NEEDED = {"p50_ns": 20, "p99_ns": 1000, "p999_ns": 10000}


Json = dict[str, Any]
Figures = dict[str, float]
Histogram = dict[float, int]  # lowest value of a slot: count
_T = TypeVar("_T")


class BadInput(Exception):
    """One line for the user; exit code 2."""


@dataclasses.dataclass
class Cell:
    """A cell's axes, and a list of values for each figure, in the order in which they were measured."""

    id: str
    kind: str
    mode: str  # with its probes: a cell with and one without are never the same series
    target: str
    depth: int
    block_bytes: int
    pattern: str
    values: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    orders: list[int] = dataclasses.field(default_factory=list)
    failed: int = 0
    reason: str = ""
    latency: Histogram = dataclasses.field(default_factory=dict)  # all samples together
    fewest_ios: int | None = None  # that the percentiles of a sample rest on
    schedulers: set[str] = dataclasses.field(default_factory=set)  # in force while it was measured
    batches: dict[str, Histogram] = dataclasses.field(default_factory=dict)  # "fetch", "commit": by size

    @property
    def is_control(self) -> bool:
        return self.kind == "control"

    def median(self, figure: str) -> float | None:
        found = self.values.get(figure)
        return statistics.median(found) if found else None

    def is_thin(self, figure: str) -> bool:
        """Whether a percentile has fewer than ten I/Os beyond it in a sample."""
        return self.fewest_ios is not None and self.fewest_ios < IOS_NEEDED.get(figure, 0)

    def spread(self, figure: str) -> tuple[float, float]:
        """The lowest and highest sample; only of a figure that has a median."""
        return min(self.values[figure]), max(self.values[figure])

    @property
    def samples(self) -> int:
        return len(self.values.get("iops", ()))


@dataclasses.dataclass(eq=False)
class Run:
    """A record: what it is of, and its cells in the plan's order."""

    path: str
    run: Json
    env: Json
    cells: list[Cell]
    probed: dict[str, str] = dataclasses.field(default_factory=dict)  # of a cell's last good sample: ublk-probe's text

    @property
    def counts_instructions(self) -> bool:
        return str(self.run.get("clock", "")).startswith("icount")

    @functools.cached_property
    def modes(self) -> list[str]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(cell.mode for cell in self.cells if not cell.is_control))

    @functools.cached_property
    def depths(self) -> list[int]:
        return sorted({cell.depth for cell in self.cells if not cell.is_control})

    @functools.cached_property
    def sizes(self) -> list[int]:
        return sorted({cell.block_bytes for cell in self.cells if not cell.is_control})

    def select(self, *, control: bool = False, **axes: int | str) -> Sequence[Cell]:
        """The cells with these values, from an index: a picture asks for each of its points, of thousands of cells."""
        return self._index(tuple(axes)).get((control, *axes.values()), ())

    @functools.cache  # noqa: B019 (one run, and as long as the program)
    def _index(self, names: tuple[str, ...]) -> dict[tuple[object, ...], list[Cell]]:
        index = collections.defaultdict(list)
        for cell in self.cells:
            index[cell.is_control, *(getattr(cell, name) for name in names)].append(cell)
        return index

    def has(self, figure: str) -> bool:
        return any(figure in cell.values for cell in self.cells)


NUMBERS = {int, float}


def _of(kind: type[_T], value: object) -> _T:
    """The value, if it is of this type: of another one is found here, not by the picture that would draw it."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{value!r} is of another type")
    return value


def _figures(sample: Json) -> Figures:
    load = sample["load"]
    ios = load["measured_ios"]
    figures: Figures = {"iops": load["iops"], "ns_per_io": load["window_ns"] / ios}
    for key, name in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p999", "p999_ns")):
        if "latency_ns" in load:
            figures[name] = load["latency_ns"][key]
    figures |= {name: value for name, value in sample["per_io"].items() if value is not None}
    server = sample.get("server")
    if server:
        figures |= {"fetch_batch": server["fetch_batch"]["mean"], "commit_batch": server["commit_batch"]["mean"],
                    "enters": server["enters"] / ios}
    if not NUMBERS.issuperset(map(type, figures.values())):  # at once: a record may have 50,000 samples
        raise TypeError("a figure that is no number")
    return figures


def _add_counts(into: Histogram, pairs: Iterable[tuple[float, int]]) -> None:
    for key, count in pairs:
        if type(key) not in NUMBERS or type(count) not in NUMBERS:
            raise TypeError(f"{key!r}: {count!r} in a histogram")
        into[key] = into.get(key, 0) + count


def _add_sample(cell: Cell, sample: Json, histograms: bool) -> None:
    if sample["status"] != "ok" or not sample["load"]["measured_ios"]:
        cell.failed += 1
        cell.reason = _of(str, sample.get("reason", "no I/O was measured"))
        return
    for name, value in _figures(sample).items():
        cell.values.setdefault(name, []).append(value)
    ios = sample["load"].get("latency_ns", {}).get("count", sample["load"]["measured_ios"])
    cell.fewest_ios = ios if cell.fewest_ios is None else min(ios, cell.fewest_ios)
    scheduler = (sample.get("device", {}).get("queue_limits") or {}).get("scheduler")
    if scheduler is not None:
        cell.schedulers.add(_of(str, scheduler))
    cell.orders.append(_of(int, sample["order"]))
    if not histograms:
        return
    _add_counts(cell.latency, sample["load"].get("latency_ns", {}).get("slots", ()))
    for name in ("fetch", "commit") if sample.get("server") else ():
        _add_counts(cell.batches.setdefault(name, {}), sample["server"][f"{name}_batch"].get("size_events", ()))


def _series(entry: Json) -> str:
    mode: str = entry["mode"] or f"({entry['target']})"
    return mode + PROBED + entry["probes"] if entry.get("probes") else mode


class _Builder:
    """Keeps of each sample what the report shows, as it comes: samples are a hundred times that."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.head: Json = {}
        self._run: Run | None = None
        self._cells: dict[str, Cell] = {}
        self._pictured: set[str] = set()
        self._early: list[Json] = []  # samples that stand before the cells
        self._problem: Exception | None = None

    def add(self, sample: Json) -> None:
        if "cells" not in self.head:
            self._early.append(sample)
        elif self._problem is None:
            try:
                self._add(sample)
            except (KeyError, TypeError, AttributeError) as problem:
                self._problem = problem  # the schema, which may come last, explains more

    def _add(self, sample: Json) -> None:
        run = self._begun()
        cell = self._cells[sample["cell"]]
        _add_sample(cell, sample, histograms=cell.id in self._pictured)
        if sample["status"] == "ok" and "probe" in sample:
            run.probed[cell.id] = _of(str, sample["probe"]["text"])

    def _begun(self) -> Run:
        if self._run is None:
            self._run = self._begin()
        return self._run

    def _begin(self) -> Run:
        cells = [Cell(_of(str, entry["id"]), _of(str, entry["kind"]), _of(str, _series(entry)),
                      _of(str, entry["target"]), _of(int, entry["depth"]), _of(int, entry["block_bytes"]),
                      _of(str, entry["pattern"])) for entry in self.head["cells"]]
        run = Run(str(self._path), {}, {}, cells)
        self._cells = {cell.id: cell for cell in cells}
        self._pictured = slices.with_histograms(run)
        return run

    def finish(self) -> Run:
        if self.head["schema"] != SCHEMA:
            raise BadInput(f"{self._path}: its schema is '{self.head['schema']}'; this program reads '{SCHEMA}'")
        if self._problem is not None:
            raise self._problem
        run = self._begun()
        for sample in self._early:
            self._add(sample)
        run.run, run.env = _of(dict, self.head["run"]), _of(dict, self.head["env"])
        return run


def _read_document(path: pathlib.Path) -> Run:
    builder = _Builder(path)
    for name, value in Document(path.read_text(encoding="utf-8")).members(stream="samples"):
        if name == "samples":
            for sample in value:
                builder.add(sample)
        else:
            builder.head[name] = value
    return builder.finish()


def _read_folder(path: pathlib.Path) -> Run:
    builder = _Builder(path)
    builder.head = json.loads((path / "run.json").read_text(encoding="utf-8"))
    with open(path / "samples.jsonl", encoding="utf-8") as lines:
        for line in lines:
            builder.add(json.loads(line))
    return builder.finish()


def read_run(name: str | pathlib.Path) -> Run:
    """A document of --json or a folder of --out."""
    path = pathlib.Path(name)
    try:
        return _read_folder(path) if path.is_dir() else _read_document(path)
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{name} is damaged, cut off, or no record of 'ublkbench run': {what}") from error

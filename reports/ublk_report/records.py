# SPDX-License-Identifier: MIT
"""Reads records and keeps of each sample what the report shows. Verdicts are not made here: they are the analyzers'."""

import dataclasses
import json
import pathlib
import statistics

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
    latency: list = dataclasses.field(default_factory=list)  # [lowest value of a slot, count], all samples together
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


@dataclasses.dataclass
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

    def axis(self, name):
        """The values of an axis, sorted where they are numbers, else as measured."""
        found = list(dict.fromkeys(getattr(cell, name) for cell in self.cells if not cell.is_control))
        return sorted(found) if found and isinstance(found[0], int) else found

    def select(self, control=False, **axes):
        return [cell for cell in self.cells if cell.is_control == control
                and all(getattr(cell, name) == value for name, value in axes.items())]

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


def _add_sample(cell, latency, sample):
    if sample["status"] != "ok" or not sample["load"]["measured_ios"]:
        cell.failed += 1
        cell.reason = sample.get("reason", "no I/O was measured")
        return
    for name, value in _figures(sample).items():
        cell.values.setdefault(name, []).append(value)
    cell.orders.append(sample["order"])
    _add_counts(latency, sample["load"].get("latency_ns", {}).get("slots", ()))
    for name in ("fetch", "commit") if sample.get("server") else ():
        _add_counts(cell.batches.setdefault(name, {}), sample["server"][f"{name}_batch"].get("size_events", ()))


def _samples(path, document):
    """The samples of a document, or line by line those of a folder."""
    if path.is_dir():
        with open(path / "samples.jsonl", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)
    else:
        yield from document.pop("samples")


def _build(path, document):
    if document["schema"] != SCHEMA:
        raise BadInput(f"{path}: its schema is '{document['schema']}'; this program reads '{SCHEMA}'")
    cells = {}
    for entry in document["cells"]:
        mode = entry["mode"] or f"({entry['target']})"
        cells[entry["id"]] = Cell(entry["id"], entry["kind"], mode, entry["target"], entry["depth"],
                                  entry["block_bytes"], entry["pattern"])
    latencies = {name: {} for name in cells}
    for sample in _samples(path, document):
        _add_sample(cells[sample["cell"]], latencies[sample["cell"]], sample)
    for name, cell in cells.items():
        cell.latency = sorted(latencies[name].items())
    return Run(str(path), document["run"], document["env"], list(cells.values()))


def read_run(name):
    """A document of --json or a folder of --out."""
    path = pathlib.Path(name)
    try:
        with open(path / "run.json" if path.is_dir() else path, encoding="utf-8") as file:
            document = json.load(file)
        return _build(path, document)
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BadInput(f"{name} is damaged, cut off, or no record of 'ublkbench run': {what}") from error

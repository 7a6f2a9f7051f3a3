# SPDX-License-Identifier: MIT
"""What a dump is made of: the fields of the document, which schema/dump.schema.json promises and document.py writes.

None is what this kernel does not have. `absent()` fields are of a second sample, or of what older recordings lack.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum

from . import SCHEMA_VERSION, VERSION
from .document import Hex, Json, absent, hidden
from .model_device import Device
from .model_task import Command, ControlMutex, Ring, Task, Work


class Severity(enum.StrEnum):
    """Worst first."""

    DEFECT = "defect"
    HANG = "hang"
    CONSEQUENCE = "consequence"
    SLOW = "slow"
    INFO = "info"

    @property
    def stuck(self) -> bool:
        """Ends the program with exit code 1."""
        return self in (Severity.DEFECT, Severity.HANG, Severity.CONSEQUENCE)


@dataclasses.dataclass(slots=True)
class Finding:
    """One match of the catalogue. `tags` may be cut in text, never in JSON. `waits_behind` has the tasks that a
    consequence waits for, if it is not its device."""

    code: str
    catalogue: str
    severity: Severity
    device: int | None
    queue: int | None
    tags: list[int]
    owner: str
    since_ns: int | None
    title: str
    text: str
    evidence: list[str]
    next_step: str
    ruled_out: list[str]
    waits_behind: tuple[Hex, ...] = hidden(())


@dataclasses.dataclass(slots=True)
class Edge:
    """`from_` waits for `to`. Nodes are task:PID, device:N, tag:N/Q/T and server:N."""

    from_: str
    to: str
    why: str


@dataclasses.dataclass(slots=True)
class Verdict:
    state: str
    line: str
    partial: bool
    exit_code: int


@dataclasses.dataclass(slots=True)
class Source:
    kind: str
    kernel: str
    types: str
    access: str
    constants_read_in: dict[str, str]


def tool(drgn: str) -> dict[str, str]:
    """`drgn`: its version."""
    return {"name": "ublk-dump", "version": VERSION, "drgn": drgn}


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclasses.dataclass(slots=True)
class Dump:
    """The document. What is judged out of it is absent until verdict.judge() has done so."""

    tool: dict[str, str]
    source: Source
    now_ns: int
    devices: list[Device] = dataclasses.field(default_factory=list)
    rings: list[Ring] = dataclasses.field(default_factory=list)
    tasks: list[Task] = dataclasses.field(default_factory=list)
    control_commands: list[Command] = dataclasses.field(default_factory=list)
    works: list[Work] = dataclasses.field(default_factory=list)
    control_mutex: ControlMutex | None = None
    missing: list[str] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    block_debugfs: list[Json] | None = absent()
    processes: list[Json] | None = absent()
    schema: str = "ublk-dump"
    schema_version: int = SCHEMA_VERSION
    taken_at: str = dataclasses.field(default_factory=now)
    samples: int = 1
    findings: list[Finding] = dataclasses.field(default_factory=list)
    wait_graph: list[Edge] = dataclasses.field(default_factory=list)
    verdict: Verdict = dataclasses.field(default_factory=lambda: Verdict("unknown", "", True, 4))

# SPDX-License-Identifier: MIT
"""ublk_drgn: what hangs in ublk, read from the kernel's memory without debug information.

The way through the package: attach (live, vmcore, recording) makes a Kernel, which reads structures by the names of the
types in BTF; the decoding modules (device, queue_io, block, rings, tasks, control) turn memory into the dataclasses of
model; confirm compares two samples; rules find entries of the catalogue in them without touching memory; wait_graph
tells causes from consequences; document writes JSON and text what people read.
"""

VERSION = "0.1.0"
SCHEMA_VERSION = 1

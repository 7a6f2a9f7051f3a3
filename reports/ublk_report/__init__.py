# SPDX-License-Identifier: MIT
"""Reports on records of `ublkbench run`: pictures, and one HTML page that needs nothing else."""

VERSION = "0.1.0"

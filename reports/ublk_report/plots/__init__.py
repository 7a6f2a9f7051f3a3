# SPDX-License-Identifier: MIT
"""One plot a module: TITLE, SEE (one sentence that says what to look for), applies(run), draw(run, styles)."""

from . import batches, cpu, iops_vs_depth, latency_vs_iops, mode_matrix, percentiles, run_order, size_cost

OF_A_RUN = (iops_vs_depth, mode_matrix, latency_vs_iops, percentiles, batches, cpu, size_cost, run_order)

# SPDX-License-Identifier: MIT
"""One look for all plots: a colour a mode, light and dark, a footer that says what the figures are of."""

import contextlib
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (the backend comes first)
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator  # noqa: E402

from ublk_report import text  # noqa: E402

# Okabe and Ito's colours, which people with any colour vision tell apart; markers tell again.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#7F7F7F")
MARKERS = "osD^vP*X"

THEMES = {
    "light": {"text": "#1a1a1a", "muted": "#666666", "grid": "#dddddd", "ground": "#ffffff"},
    "dark": {"text": "#e8e8e8", "muted": "#a0a0a0", "grid": "#3a3a3a", "ground": "#16181c"},
}

_theme = THEMES["light"]


def theme():
    return _theme


@contextlib.contextmanager
def themed(name):
    """All that is drawn inside has the theme's colours."""
    global _theme  # noqa: PLW0603 (plots read it through theme())
    _theme = THEMES[name]
    settings = {
        "figure.facecolor": _theme["ground"], "axes.facecolor": _theme["ground"], "savefig.facecolor": _theme["ground"],
        "text.color": _theme["text"], "axes.labelcolor": _theme["text"], "axes.edgecolor": _theme["muted"],
        "xtick.color": _theme["text"], "ytick.color": _theme["text"], "grid.color": _theme["grid"],
        "legend.frameon": False, "axes.grid": True, "axes.axisbelow": True, "axes.spines.top": False,
        "axes.spines.right": False, "font.size": 9, "axes.titlesize": 10, "svg.fonttype": "path",
        # Names of modes, targets and files are text, never mathematics.
        "text.parse_math": False, "svg.hashsalt": "ublkbench",
    }
    with plt.rc_context(settings):
        try:
            yield
        finally:
            plt.close("all")
            _theme = THEMES["light"]


def mode_styles(runs):
    """A colour and marker for each mode, the same in every plot; controls are grey."""
    modes = list(dict.fromkeys(cell.mode for run in runs for cell in run.cells if not cell.is_control))
    return {mode: {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at // len(COLOURS) % len(MARKERS)]
                   if len(modes) > len(COLOURS) else MARKERS[at % len(MARKERS)]} for at, mode in enumerate(modes)}


def panels(columns, rows=1, width=3.6, height=3.0, sharey=True):
    """Axes that share their scales, so that panels can be compared by eye."""
    columns = max(1, columns)
    figure, axes = plt.subplots(rows, columns, figsize=(max(7.0, width * columns), height * rows + 0.5), squeeze=False,
                                sharex=True, sharey=sharey, layout="constrained")
    return figure, axes


def powers_of_two(axis, values):
    axis.set_xscale("log", base=2)
    axis.set_xticks(values, [text.count(v) if v >= 10000 else str(v) for v in values])
    axis.xaxis.set_minor_locator(NullLocator())


def counts(axis):
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text.count(value)))
    axis.yaxis.set_minor_formatter(NullFormatter())


def times(axis):
    """A logarithmic axis of times; within a decade or two the steps between the powers are named, too."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: text.time_ns(value) if value > 0 else "0"))
    low, high = axis.get_view_interval()
    near = low > 0 and high / low < 50
    axis.set_minor_formatter(FuncFormatter(
        lambda value, _: text.time_ns(value) if near and f"{value:.0e}"[0] in "25" else ""))
    axis.set_tick_params(which="minor", labelsize=7)


def footer(figure, words):
    figure.supxlabel(words, fontsize=7, color=theme()["muted"])


def legend(figure, axis):
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def save(figure, kind):
    """The picture as bytes of SVG or PNG, the same for the same figures."""
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(out, format=kind, dpi=150, metadata=metadata)
    plt.close(figure)
    return out.getvalue()

# SPDX-License-Identifier: MIT
"""One look for all plots: a colour a mode, light and dark, a footer that says what the figures are of."""

import contextlib
import io
from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib
import numpy.typing
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend comes first
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from ublk_report import text
from ublk_report.records import PROBED, Run

# Okabe and Ito's colours, which people with any colour vision tell apart; markers tell again.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#7F7F7F")
MARKERS = "osD^vP*X"

THEMES = {
    "light": {"text": "#1a1a1a", "muted": "#666666", "grid": "#dddddd", "ground": "#ffffff"},
    "dark": {"text": "#e8e8e8", "muted": "#a0a0a0", "grid": "#3a3a3a", "ground": "#16181c"},
}

Look = dict[str, Any]  # words that matplotlib draws a mode by
Styles = dict[str, Look]  # by mode

_theme = THEMES["light"]


def theme() -> dict[str, str]:
    return _theme


@contextlib.contextmanager
def themed(name: str) -> Iterator[None]:
    """All that is drawn inside has the theme's colours."""
    global _theme  # plots read it through theme()
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


def is_probed(mode: str) -> bool:
    return PROBED in mode


def mode_styles(runs: Iterable[Run]) -> Styles:
    """A colour and marker for each mode, the same in every plot; controls are grey. A mode with probes has the mode's
    own, and is told from it by dashes(), by hollow markers and by hatch()."""
    labels = list(dict.fromkeys(cell.mode for run in runs for cell in run.cells if not cell.is_control))
    modes = list(dict.fromkeys(label.split(PROBED)[0] for label in labels))
    styles = {mode: {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at // len(COLOURS) % len(MARKERS)]
                     if len(modes) > len(COLOURS) else MARKERS[at % len(MARKERS)]} for at, mode in enumerate(modes)}
    return {label: styles[label.split(PROBED)[0]] for label in labels}


def line(mode: str, styles: Styles) -> Look:
    """What a mode's line and markers look like."""
    probed = {"linestyle": "--", "markerfacecolor": theme()["ground"]} if is_probed(mode) else {"linestyle": "-"}
    return {**styles[mode], **probed}


def dashes(mode: str) -> str:
    return "--" if is_probed(mode) else "-"


def hatch(mode: str) -> str:
    return "////" if is_probed(mode) else ""


def panels(columns: int, rows: int = 1, *, width: float = 3.6, height: float = 3.0,
           shared: bool = True) -> tuple[Figure, list[list[Axes]]]:
    """Axes that share their scales, so that panels can be compared by eye, unless they show different things."""
    columns = max(1, columns)
    axes: numpy.typing.NDArray[numpy.object_]
    figure, axes = plt.subplots(rows, columns, figsize=(max(7.0, width * columns), height * rows + 0.5), squeeze=False,
                                sharex=shared, sharey=shared, layout="constrained")
    return figure, [list(row) for row in axes]


def powers_of_two(axis: Axes, values: list[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(values, [text.count(v) if v >= 10000 else str(v) for v in values])
    axis.xaxis.set_minor_locator(NullLocator())


def counts(axis: Axes) -> None:
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: text.count(value)))
    axis.yaxis.set_minor_formatter(NullFormatter())


def times(axis: Axis) -> None:
    """A logarithmic axis of times; within a decade or two the steps between the powers are named, too."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: text.time_ns(value) if value > 0 else "0"))
    low, high = axis.get_view_interval()
    near = low > 0 and high / low < 50
    axis.set_minor_formatter(FuncFormatter(
        lambda value, _: text.time_ns(value) if near and f"{value:.0e}"[0] in "25" else ""))
    axis.set_tick_params(which="minor", labelsize=7)


def footer(figure: Figure, words: str) -> None:
    figure.supxlabel(words, fontsize=7, color=theme()["muted"])


def legend(figure: Figure, axis: Axes) -> None:
    handles, labels = axis.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def save(figure: Figure, kind: str) -> bytes:
    """The picture as bytes of SVG or PNG, the same for the same figures."""
    out = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(out, format=kind, dpi=150, metadata=metadata)
    plt.close(figure)
    return out.getvalue()

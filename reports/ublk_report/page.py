# SPDX-License-Identifier: MIT
"""The HTML page: everything inlined, autoescaped, complete without JavaScript."""

import base64
import functools
import pathlib
import shlex
from collections.abc import Callable, Iterator
from types import ModuleType

import jinja2
from matplotlib.figure import Figure

from ublk_report import plots, records, slices, style, text
from ublk_report.plots import forest
from ublk_report.records import Cell, Json, Run
from ublk_report.style import Styles

Keep = Callable[[str, str, bytes], None]  # name, kind and bytes of a picture
Field = tuple[object, object, str]  # of a table: the text, what to sort by, the hint

COLUMNS = (("iops", "IOPS", text.count), ("p50_ns", "p50", text.time_ns), ("p99_ns", "p99", text.time_ns),
           ("p999_ns", "p99.9", text.time_ns), ("server_cpu_ns", "server ns/IO", text.whole),
           ("load_cpu_ns", "load ns/IO", text.whole), ("server_instructions", "server ins/IO", text.whole),
           ("load_instructions", "load ins/IO", text.whole), ("total_instructions", "all ins/IO", text.whole),
           ("fetch_batch", "fetch batch", text.fine), ("commit_batch", "commit batch", text.fine),
           ("enters", "enters/IO", text.fine))


def environment() -> jinja2.Environment:
    folder = pathlib.Path(__file__).parent / "templates"
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def data_uri(svg: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def picture(module: ModuleType, make: Callable[[], Figure], keep: Keep | None) -> Json:
    """Both themes of a plot; `keep(name, kind, bytes)`, unless None, gets the files that stand beside the page."""
    name = module.__name__.rsplit(".", 1)[-1]
    pictures = {}
    for theme in style.THEMES:
        with style.themed(theme):
            figure = make()
            width_inch = figure.get_figwidth()
            pictures[theme] = style.save(figure, "svg")
            if keep and theme == "light":
                keep(name, "svg", pictures[theme])
                keep(name, "png", style.save(make(), "png"))
    return {"title": module.TITLE, "see": module.SEE, "width_inch": width_inch,
            **{theme: data_uri(svg) for theme, svg in pictures.items()}}


def _measured(cell: Cell, name: str, form: Callable[[float], str]) -> Field:
    median = cell.median(name)
    if median is None:
        return "-", "", ""
    low, high = cell.spread(name)
    of = f" of {cell.fewest_ios}" if cell.is_thin(name) else ""
    return (form(median) + of, median,
            f"{form(low)} to {form(high)}" if len(cell.values[name]) > 1 else "one sample: no range")


def table(run: Run) -> Json:
    """Titles, and a row a cell: the text, the number to sort by, and the range as a hint. What all cells share is said
    once: on a phone each column counts."""
    shown = [column for column in COLUMNS if run.has(column[0])]
    one_load = len(slices.all_loads(run)) == 1
    rows = []
    for cell in run.cells:
        fields = [(cell.mode, cell.mode, ""),
                  *([] if one_load else [(cell.target, cell.target, ""), (cell.pattern, cell.pattern, "")]),
                  (text.size(cell.block_bytes), cell.block_bytes, ""), (cell.depth, cell.depth, ""),
                  (cell.samples if not cell.failed else f"{cell.samples} ({cell.failed} failed)", cell.samples,
                   cell.reason),
                  *(_measured(cell, name, form) for name, _, form in shown)]
        rows.append({"fields": fields, "control": cell.is_control})
    load = [] if one_load else ["target", "rw"]
    titles = ["mode", *load, "bs", "qd", "n", *(title for _, title, _ in shown)]
    target, pattern = slices.loads(run)[0] if one_load else ("", "")
    return {"titles": titles, "rows": rows, "left": 1 + len(load),
            "of": " ".join(filter(None, (f"Target {target}, {pattern}." if one_load else "", thin(run))))}


def thin(run: Run) -> str:
    """What 'of N' behind a percentile means, and how many I/Os it needs."""
    needs = [f"{title} needs {records.IOS_NEEDED[name]}" for name, title, _ in COLUMNS
             if any(cell.is_thin(name) and name in cell.values for cell in run.cells)]
    return f"'of N': a sample has N I/Os, which leaves fewer than ten beyond the percentile; {', '.join(needs)}." \
        if needs else ""


def flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield name, "-" if value is None else str(value)
        return
    for key, below in value.items():
        yield from flat(below, f"{name}.{key}" if name else key)


def describe(run: Run) -> Json:
    kernel = run.env.get("key_fields", {}).get("kernel", {}).get("release", "?")
    tool = run.run.get("tool", {})
    return {"path": run.path, "kernel": kernel, "commit": tool.get("commit", "unknown"), "dirty": tool.get("dirty"),
            "started": run.run.get("started", "?"), "argv": shlex.join(run.run.get("argv", [])),
            "seed": run.run.get("seed"), "loop": run.run.get("loop"), "clock": run.run.get("clock", ""),
            "key": run.env.get("key", "?"), "jobs": run.run.get("jobs"), "queues": run.run.get("queues"),
            "schedulers": sorted(set().union(*(cell.schedulers for cell in run.cells))),
            "emulated": run.env.get("key_fields", {}).get("machine", {}).get("accelerator") == "tcg",
            "environment": list(flat(run.env.get("key_fields", {}))), "failed": sum(c.failed for c in run.cells)}


def _footer(run: Run) -> str:
    counts = [cell.samples for cell in run.cells if cell.samples]
    n = f"{min(counts)}" if counts and min(counts) == max(counts) else \
        f"{min(counts)} to {max(counts)}" if counts else "0"
    what = "one sample a cell, so without a range" if n == "1" else f"medians of {n} samples a cell"
    clock = "instructions, not time" if run.counts_instructions else "wall clock"
    return f"{what}, each with a fresh device and server · {clock} · environment {run.env.get('key', '?')}"


def _with_footer(run: Run, draw: Callable[[], Figure]) -> Callable[[], Figure]:
    def make() -> Figure:
        figure = draw()
        style.footer(figure, _footer(run))
        return figure
    return make


def _keep_apart(keep: Keep | None, at: int, runs: list[Run]) -> Keep | None:
    """Pictures of several records have its place in their names."""
    if keep is None or len(runs) == 1:
        return keep
    return lambda name, kind, data: keep(f"{at + 1}-{name}", kind, data)


def _section(run: Run, styles: Styles, keep: Keep | None, heading: str) -> Json:
    """What the page shows of one record."""
    pictures = [picture(module, _with_footer(run, functools.partial(module.draw, run, styles)), keep)
                for module in plots.OF_A_RUN if slices.modes(run) and module.applies(run)]
    return {"heading": heading, "closed": run.run.get("loop") == "closed", "left_out": slices.left_out(run),
            "pictures": pictures, "table": table(run), "probed": run.probed}


def render_runs(runs: list[Run], keep: Keep | None, command: str) -> str:
    """A page of one record or of several, each as it would be alone; a mode has one colour in all."""
    styles = style.mode_styles(runs)
    sections = [_section(run, styles, _keep_apart(keep, at, runs), run.path if len(runs) > 1 else "")
                for at, run in enumerate(runs)]
    return environment().get_template("page.html").render(
        title="ublkbench: " + ", ".join(run.path for run in runs), runs=[describe(run) for run in runs],
        sections=sections, comparison=None, command=command)


def _verdict_rows(comparison: Json) -> list[Json]:
    rows = []
    for kind in ("rows", "controls"):
        for row in comparison[kind]:
            fields: list[Field] = [(row["cell"], row["cell"], "")]
            for column in row["columns"]:
                fields.append((f"{column['median']:.6g} ({column['n']})" if column["median"] is not None else "-",
                               column["median"] if column["median"] is not None else "", ""))
                judged = column.get("against_first")
                if judged is None:
                    continue
                interval = f"{judged['low']:.4f} to {judged['high']:.4f}" if judged["low"] is not None else "-"
                ratio = judged["ratio"]
                fields += [(f"{ratio:.4f}" if ratio is not None else "-", ratio or "", ""),
                           (interval, judged["low"] or "", judged["interval_kind"]),
                           (judged["verdict"] if comparison["comparable"] else "-", judged["verdict"], judged["why"])]
            rows.append({"fields": fields, "control": kind == "controls"})
    return rows


def _with_number(keep: Keep | None, at: int) -> Keep | None:
    """A picture for each column of a comparison has the column's number in its name."""
    return keep and (lambda name, kind, data: keep(f"{name}-{at}", kind, data))


def render_comparison(runs: list[Run], comparison: Json, keep: Keep | None, command: str) -> str:
    titles = ["cell"]
    for at, column in enumerate(comparison["columns"]):
        titles += [f"{column} (n)", *(["ratio", "interval", "verdict"] if at else [])]
    pictures = [picture(forest, functools.partial(forest.draw, comparison, at), _with_number(keep, at))
                for at in range(1, len(comparison["columns"])) if forest.entries(comparison, at)]
    return environment().get_template("page.html").render(
        title="ublkbench: comparison of " + ", ".join(comparison["columns"]), runs=[describe(run) for run in runs],
        sections=[{"heading": "", "pictures": pictures, "probed": {},
                   "table": {"titles": titles, "rows": _verdict_rows(comparison), "left": 1, "of": ""}}],
        comparison=comparison, command=command)

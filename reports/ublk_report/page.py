# SPDX-License-Identifier: MIT
"""The HTML page: everything inlined, autoescaped, complete without JavaScript."""

import base64
import pathlib
import shlex

import jinja2

from ublk_report import plots, slices, style, text
from ublk_report.plots import forest

COLUMNS = (("iops", "IOPS", text.count), ("p50_ns", "p50", text.time_ns), ("p99_ns", "p99", text.time_ns),
           ("p999_ns", "p99.9", text.time_ns), ("server_cpu_ns", "server ns/IO", text.whole),
           ("load_cpu_ns", "load ns/IO", text.whole), ("server_instructions", "server ins/IO", text.whole),
           ("load_instructions", "load ins/IO", text.whole), ("total_instructions", "all ins/IO", text.whole),
           ("fetch_batch", "fetch batch", text.fine), ("commit_batch", "commit batch", text.fine),
           ("enters", "enters/IO", text.fine))


def environment():
    folder = pathlib.Path(__file__).parent / "templates"
    return jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, undefined=jinja2.StrictUndefined)


def data_uri(svg):
    return "data:image/svg+xml;base64," + base64.b64encode(svg).decode()


def picture(module, make, keep):
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
    return {"title": module.TITLE, "see": module.SEE, "width_inch": width_inch, **{theme: data_uri(svg) for theme, svg in pictures.items()}}


def table(run):
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
                   cell.reason)]
        for name, _, form in shown:
            median = cell.median(name)
            if median is None:
                fields.append(("-", "", ""))
            else:
                low, high = cell.spread(name)
                fields.append((form(median), median, f"{form(low)} to {form(high)}"))
        rows.append({"fields": fields, "control": cell.is_control})
    load = [] if one_load else ["target", "rw"]
    titles = ["mode", *load, "bs", "qd", "n", *(title for _, title, _ in shown)]
    target, pattern = slices.loads(run)[0] if one_load else ("", "")
    return {"titles": titles, "rows": rows, "left": 1 + len(load),
            "of": f"Target {target}, {pattern}." if one_load else ""}


def flat(value, name=""):
    if not isinstance(value, dict):
        yield name, "-" if value is None else str(value)
        return
    for key, below in value.items():
        yield from flat(below, f"{name}.{key}" if name else key)


def describe(run):
    kernel = run.env.get("key_fields", {}).get("kernel", {}).get("release", "?")
    tool = run.run.get("tool", {})
    return {"path": run.path, "kernel": kernel, "commit": tool.get("commit", "unknown"), "dirty": tool.get("dirty"),
            "started": run.run.get("started", "?"), "argv": shlex.join(run.run.get("argv", [])),
            "seed": run.run.get("seed"), "loop": run.run.get("loop"), "clock": run.run.get("clock", ""),
            "key": run.env.get("key", "?"), "jobs": run.run.get("jobs"), "queues": run.run.get("queues"),
            "emulated": run.env.get("key_fields", {}).get("machine", {}).get("accelerator") == "tcg",
            "environment": list(flat(run.env.get("key_fields", {}))), "failed": sum(c.failed for c in run.cells)}


def _footer(run):
    counts = [cell.samples for cell in run.cells if cell.samples]
    n = f"{min(counts)}" if counts and min(counts) == max(counts) else \
        f"{min(counts)} to {max(counts)}" if counts else "0"
    clock = "instructions, not time" if run.counts_instructions else "wall clock"
    return f"medians of {n} samples a cell, each with a fresh device and server · {clock} · environment {run.env.get('key', '?')}"


def _with_footer(run, draw):
    def make():
        figure = draw()
        style.footer(figure, _footer(run))
        return figure
    return make


def render_run(run, keep, command):
    styles = style.mode_styles([run])
    pictures = [picture(module, _with_footer(run, lambda module=module: module.draw(run, styles)), keep)
                for module in plots.OF_A_RUN if slices.modes(run) and module.applies(run)]
    return environment().get_template("page.html").render(
        title=f"ublkbench: {run.path}", runs=[describe(run)], pictures=pictures, table=table(run), comparison=None,
        left_out=slices.left_out(run), command=command, figures=None)


def _verdict_rows(comparison):
    rows = []
    for kind in ("rows", "controls"):
        for row in comparison[kind]:
            fields = [(row["cell"], row["cell"], "")]
            for column in row["columns"]:
                fields.append((f"{column['median']:.6g} ({column['n']})" if column["median"] is not None else "-",
                               column["median"] if column["median"] is not None else "", ""))
                judged = column.get("against_first")
                if judged is None:
                    continue
                interval = f"{judged['low']:.4f} to {judged['high']:.4f}" if judged["low"] is not None else "-"
                fields += [(f"{judged['ratio']:.4f}" if judged["ratio"] is not None else "-", judged["ratio"] or "", ""),
                           (interval, judged["low"] or "", judged["interval_kind"]),
                           (judged["verdict"] if comparison["comparable"] else "-", judged["verdict"], judged["why"])]
            rows.append({"fields": fields, "control": kind == "controls"})
    return rows


def render_comparison(runs, comparison, keep, command):
    titles = ["cell"]
    for at, column in enumerate(comparison["columns"]):
        titles += [f"{column} (n)", *(["ratio", "interval", "verdict"] if at else [])]
    pictures = [picture(forest, lambda at=at: forest.draw(comparison, at),
                        keep and (lambda name, kind, data, at=at: keep(f"{name}-{at}", kind, data)))
                for at in range(1, len(comparison["columns"])) if forest.entries(comparison, at)]
    return environment().get_template("page.html").render(
        title="ublkbench: comparison of " + ", ".join(comparison["columns"]), runs=[describe(run) for run in runs],
        pictures=pictures, table={"titles": titles, "rows": _verdict_rows(comparison), "left": 1, "of": ""},
        comparison=comparison, left_out="", command=command, figures=comparison["figure"])

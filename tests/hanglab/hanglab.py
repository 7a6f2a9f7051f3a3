#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The hang lab: makes each way to hang, runs ublk-dump, and compares its verdict with the truth.

hanglab.py [--list] [--server NAME] [--together] [--record DIR] [--table FILE] [CASE[:SERVER]...]

Needs root and a ublk driver; run it in a guest: scripts/vm run -- python3 tests/hanglab/hanglab.py
Cases marked 'wedges' leave a kernel that needs a reboot; they run last, and only when named or with --wedge.
"""

import argparse
import contextlib
import itertools
import pathlib
import sys
import time

import buffer_cases  # noqa: F401  (registers its cases)
import cgroup_cases  # noqa: F401
import near_misses  # noqa: F401
import opener_cases  # noqa: F401
import server_cases  # noqa: F401
import teardown_cases  # noqa: F401
from lab import AGE_S, CASES, CannotRun, Lab, check

NOTHING = "nothing stuck"
LOOKS = 5  # what was made may not have come to pass yet on a busy machine; once there, it stays
TOGETHER_TIMEOUT_S = 7200  # sixty devices on an emulated CPU that others use too


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE[:SERVER]")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--server", choices=("bad", "ours", "kublk"), action="append", default=[])
    parser.add_argument("--together", action="store_true",
                        help="make all cases first, and judge them by one dump: much faster on a slow machine")
    parser.add_argument("--wedge", action="store_true", help="also the cases that need a reboot afterwards")
    parser.add_argument("--record", type=pathlib.Path, metavar="DIR", help="keep a recording of each case")
    parser.add_argument("--text", type=pathlib.Path, metavar="DIR", help="keep the text dump of each case")
    parser.add_argument("--table", type=pathlib.Path, metavar="FILE", help="write the results as a Markdown table")
    options = parser.parse_args()
    unknown = [word for word in options.cases if word.split(":")[0] not in CASES]
    if unknown:
        parser.error(f"no case {unknown[0]}; --list shows them")
    return options


def chosen(options):
    """Pairs of case and server, the ones that wedge the kernel last."""
    words = options.cases or [name for name, case in CASES.items() if not case.wedges or options.wedge]
    pairs = [(CASES[name], server) for name, _, only in (word.partition(":") for word in words)
             for server in CASES[name].servers
             if only in ("", server) and (not options.server or server in options.server)]
    return sorted(pairs, key=lambda pair: (pair[0].wedges, pair[0].make.__module__ == "near_misses"))


def run(case, server, options):
    """One row: case, server, expected, what was found, first evidence, seconds, complaint."""
    with Lab(server) as lab:
        expected = case.make(lab)
        arguments = ["--dev", expected.device, *expected.options]
        if options.record:
            options.record.mkdir(parents=True, exist_ok=True)
            arguments += ["--record", options.record / f"{case.name}-{server}.xz"]
        dumped, (row,) = looked_at(lambda: lab.dump(*arguments), [(case, server, expected)])
        if options.text:
            keep_text(options.text, f"{case.name}-{server}", dumped.document)
        return row


def looked_at(take, made):
    """A dump and its rows. What does not show yet is looked at again; what must not be called stuck has one look."""
    for look in range(LOOKS):
        time.sleep(AGE_S + 0.2)
        dumped = take()
        rows = [row_of(case, server, expected, dumped) for case, server, expected in made]
        wrong = [row for row in rows if row["complaint"]]
        if not wrong or look + 1 == LOOKS or any(row["expected"] == NOTHING for row in wrong):
            break
        for row in wrong:
            print(f"look again: {row['case'].name} ({row['server']}): {row['complaint']}", flush=True)
        for trouble in (*dumped.document["errors"], *dumped.document["missing"]):
            print(f"the dump could not read: {trouble}", flush=True)
    return dumped, rows


def row_of(case, server, expected, dumped):
    of_device = [row for row in dumped.document["findings"] if row["device"] == expected.device]
    found = [row for row in of_device if row["code"] == expected.code] or of_device
    evidence = "; ".join(found[0]["evidence"][:2]) if found and expected.code else "nothing is stuck"
    return {"case": case, "server": server, "expected": expected.code or NOTHING, "evidence": evidence,
            "seconds": dumped.seconds, "peak_mib": dumped.peak_mib,
            "complaint": check(dumped.document, dumped.exit_code, expected)}


def failed_row(case, server, error):
    return {"case": case, "server": server, "expected": "-", "evidence": "-", "seconds": 0.0, "peak_mib": 0.0,
            "complaint": str(error)}


def run_each(options, pairs):
    for case, server in pairs:
        try:
            yield run(case, server, options)
        except CannotRun as reason:
            print(f"skip {case.name} ({server}): {reason}", flush=True)
        except AssertionError as error:
            yield failed_row(case, server, error)


def run_together(options, pairs):
    """All cases on one machine at once. The seconds of each row are those of the dump that it was judged by."""
    made = []
    with contextlib.ExitStack() as labs:
        judge = labs.enter_context(Lab())
        for case, server in pairs:
            lab = labs.enter_context(Lab(server))
            try:
                made.append((case, server, case.make(lab)))
            except CannotRun as reason:
                print(f"skip {case.name} ({server}): {reason}", flush=True)
            except AssertionError as error:
                yield failed_row(case, server, error)
            print(f"made {case.name} ({server})", flush=True)
        for words in sorted({expected.options for _case, _server, expected in made}):
            arguments = list(words)
            if options.record:
                options.record.mkdir(parents=True, exist_ok=True)
                arguments += ["--record", options.record / f"together{''.join(map(str, words))}.xz"]
            dumped, rows = looked_at(lambda words=arguments: judge.dump(*words, timeout_s=TOGETHER_TIMEOUT_S),
                                     [one for one in made if one[2].options == words])
            if options.text:
                keep_text(options.text, f"together{''.join(map(str, words))}", dumped.document)
            yield from rows


def keep_text(folder, name, document):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "drgn"))
    from ublk_drgn.document import from_json
    from ublk_drgn.model import Dump
    from ublk_drgn.text import render

    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text(render(from_json(Dump, document)))


def table(rows):
    yield "| case | server | verdict | evidence | seconds |"
    yield "|:--|:--|:--|:--|--:|"
    for row in rows:
        code = row["expected"] if row["expected"] == NOTHING else f"`{row['expected']}`"
        verdict = f"**wrong**: {row['complaint']}" if row["complaint"] else code
        yield f"| {row['case'].title} | {row['server']} | {verdict} | {row['evidence']} | {row['seconds']:.1f} |"


def main():
    options = parse()
    if options.list:
        for case in CASES.values():
            print(f"{case.name:24} {','.join(case.servers):16} {case.title}{' [wedges]' if case.wedges else ''}")
        return 0
    rows, wrong = [], 0
    pairs = chosen(options)
    together = [pair for pair in pairs if options.together and not pair[0].alone]
    alone = [pair for pair in pairs if pair not in together]
    for row in itertools.chain(run_together(options, together) if together else (), run_each(options, alone)):
        rows.append(row)
        wrong += bool(row["complaint"])
        print(f"{'WRONG' if row['complaint'] else 'ok   '} {row['case'].name} ({row['server']}): "
              f"{row['complaint'] or row['expected']} [{row['seconds']:.1f} s, {row['peak_mib']:.0f} MiB]", flush=True)
        if options.table:  # after each, so that a run that is cut short has its rows
            options.table.write_text("\n".join(table(rows)) + "\n")
    print(f"{len(rows)} case(s), {wrong} wrong")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())

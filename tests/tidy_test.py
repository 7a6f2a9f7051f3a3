#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The rules that a reviewer should not have to check: include arrows, headers, hygiene.

tidy_test.py [REPOSITORY]      check; one line a violation, exit 1 if there is one
tidy_test.py --self-test       plant a violation of each rule and see that it is found
"""

import ast
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

# What each folder of bench/ may include besides itself: base <- cli, process, ring <- control <- server <- tools.
ARROWS = {
    "base": set(),
    "cli": {"base"},
    "process": {"base"},
    "ring": {"base"},
    "control": {"base", "process", "ring"},
    "targets": {"base", "process", "ring"},
    "server": {"base", "process", "ring", "control", "targets"},
    "load": {"base", "record", "ring"},
    "record": {"base"},
    "suite": {"base", "process", "ring", "control", "targets", "server", "load", "record"},
    "tools": {"base", "cli", "process", "ring", "control", "targets", "server", "load", "record", "suite"},
    "micro": {"base", "process", "ring", "control", "targets", "server", "load", "record", "suite"},
}
APART = ("bench", "probes", "drgn")  # none of these includes another of them
# What analyzers see of bench: what records are made of, and how they are told apart.
MAY_SEE_ANALYZERS = ("bench/suite", "bench/tools")
GROUND_FLOOR = re.compile(r"^bench/(base|record)/")
# Probes stand beside bench, not on it: of bench they see what both stand on.
PROBES_MAY_INCLUDE = re.compile(r"^bench/(base|cli|control|record)/")
# The one definition that BPF programs share with C++.
SHARED_WITH_BPF = {"bench/base/log_linear.h"}

# Functions of product code by language: the longest, and how many have more than LONG lines. Only ever smaller: whoever
# makes one shorter writes the new number here. (Files have no such number: it made halves of what belongs together.)
LONG = 60
FUNCTIONS = {"C++": (86, 6), "C": (45, 0), "Python": (42, 0), "shell": (39, 0)}
PRODUCT = ("bench/", "probes/", "drgn/", "analyzers/", "reports/", "scripts/")
SOURCE_SUFFIXES = {".cpp", ".hpp", ".h", ".c", ".py", ".bt", ".sh"}
C_SUFFIXES = {".cpp", ".hpp", ".h", ".c"}
# Kernel style and shell scripts indent with tabs.
TABS_ALLOWED = re.compile(r"(\.bpf\.[ch]|\.sh|\.mk|Makefile)$|^scripts/|^\.ci/")
BINARY_SUFFIXES = {".png", ".jpg", ".gz", ".xz", ".zst", ".pdf", ".svg"}

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
IMPORT = re.compile(r"^\s*(?:from|import)\s+(bench|probes|drgn)\b[./]", re.MULTILINE)
# Spelled in pieces so that this file does not accuse itself.
FORBIDDEN_TEXT = [
    (re.compile("/ro" + r"ot/(?!\.)[A-Za-z0-9]|/ro" + r"ot/\.[a-z]"), "a path of the developer's home"),
    (re.compile("/wo" + r"rk/(main|shared)\b"), "a path of the developer's machine"),
    (re.compile(r"https?://(deb|ftp|security|snapshot)\.deb" + r"ian\.org"), "a fixed package mirror"),
    (re.compile(r"https?://(registry\.npm" + r"js|pypi|crates|index\.crates|proxy\.golang)\b"),
     "a fixed package registry"),
    (re.compile(r"\b(docker" + r"\.io|gh" + r"cr\.io|quay" + r"\.io)/"), "a fixed container registry"),
]
# What one place does for all: what it is, where it is, what to use instead.
ONE_PLACE = [
    (re.compile(r"\b(v?fork|pipe2?|waitpid|waitid|posix_spawn)\("), "bench/process/", "process::Child"),
    (re.compile(r"\bstd::(println?|format|vformat)\("), "bench/base/format",
     "formatted(), whose formatters are compiled once; say() and print_line(), which do not throw"),
    (re.compile(r"\.dump\("), "bench/base/json_text", "json_text(), which does not throw"),
    (re.compile(r"\b(Buffer|Delivery|Reap|Placement)Mode::|\bmode\.(buffer|delivery|reaping|placement)\b"),
     "bench/server/m", "a trait of the mode (mode.hpp); only make_*daemon pick code by a word"),
]
# Headers that may include nlohmann's JSON: those of the serializer.
JSON_HEADERS = re.compile(r"^(bench/base/json_text|bench/record/(axes_json|facts_json|write_fields))\.hpp$")
ASSERTS = re.compile(r"\b(EXPECT|ASSERT)_\w+\(|\bself\.(assert\w+|fail)\(|^\s*assert\b|\bstatic_assert\(|\bpytest\.raises\(", re.MULTILINE)


def tracked_files(root):
    """All files of the repository that are not ignored; without git, all files."""
    git = subprocess.run(
        ["git", "-C", str(root), "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"], capture_output=True)
    if git.returncode == 0 and (root / ".git").exists():
        names = [name for name in git.stdout.decode().split("\0") if name]
    else:
        names = [str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()]
    names = [n for n in names if not n.startswith(("build/", ".git/")) and "__pycache__" not in n]
    return sorted(n for n in set(names) if (root / n).is_file())


def check_includes(name, text):
    parts = name.split("/")
    for included in INCLUDE.findall(text):
        there = included.split("/")
        if parts[0] == "analyzers" and there[0] in APART and not GROUND_FLOOR.match(included):
            yield f"analyzers must not include {included}"
        if there[0] == "analyzers" and parts[0] in APART and "/".join(parts[:2]) not in MAY_SEE_ANALYZERS:
            yield f"{'/'.join(parts[:2])} must not include {included}"
        if there[0] not in APART:
            continue
        if parts[0] == "probes" and PROBES_MAY_INCLUDE.match(included):
            continue
        if parts[0] in APART and there[0] != parts[0]:
            yield f"{parts[0]} must not include {included}"
        if parts[0] == there[0] == "bench" and len(parts) > 2 and len(there) > 2:
            here, other = parts[1], there[1]
            if here not in ARROWS:
                yield f"bench/{here} is in no arrow: add it to ARROWS with what it may include"
            elif other != here and other not in ARROWS[here]:
                yield f"bench/{here} must not include {included}"
    if parts[0] in APART:
        for other in IMPORT.findall(text):
            if other != parts[0]:
                yield f"{parts[0]} must not import {other}"


def check_source(name, text):
    suffix = pathlib.PurePath(name).suffix
    if suffix in SOURCE_SUFFIXES or text.startswith("#!"):
        if "SPDX-License-Identifier:" not in "\n".join(text.split("\n", 3)[:3]) and text.strip():
            if suffix in C_SUFFIXES | {".py", ".bt"}:
                yield "no SPDX-License-Identifier in the first three lines"
    if suffix in (".hpp", ".h") and ".bpf." not in name and name not in SHARED_WITH_BPF and "#pragma once" not in text:
        yield "header without #pragma once"


def check_json(name, text):
    if name.endswith(".hpp") and name.startswith(PRODUCT) and "<nlohmann/" in text and not JSON_HEADERS.match(name):
        yield "a header that includes JSON: give it a record's type, Facts or text"


def check_one_place(name, text):
    if not name.startswith(("bench/", "analyzers/", "probes/")) or not name.endswith((".cpp", ".hpp")):
        return
    for pattern, place, instead in ONE_PLACE:
        if not name.startswith(place) and (found := pattern.search(text)):
            yield f"{found.group(0)}...) stands in {place} only: use {instead}"


def check_hygiene(name, text):
    for number, line in enumerate(text.split("\n"), 1):
        if line.endswith((" ", "\t")) and not name.endswith((".patch", ".diff")):
            yield f"line {number}: trailing white space"
        if "\t" in line and pathlib.PurePath(name).suffix in SOURCE_SUFFIXES | {".cmake", ".md", ".json"} \
                and not TABS_ALLOWED.search(name) and not text.startswith("#!/bin/bash"):
            yield f"line {number}: tab"
    if text and not text.endswith("\n"):
        yield "no newline at the end"
    for pattern, what in FORBIDDEN_TEXT:
        if found := pattern.search(text):
            yield f"{what}: {found.group(0)}"


def check_name(name):
    if name == "drgn/__init__.py":
        yield "shadows the real drgn when Python runs from the root"
    if pathlib.PurePath(name).name == "vmlinux.h":
        yield "generated per kernel; compat.bpf.h declares what is used"


def check_test(name, text):
    base = pathlib.PurePath(name).name
    is_test = name.startswith("tests/") and (base.endswith(("_test.cpp", "_test.py"))
                                             or re.match(r"test_.*\.py$", base))
    if is_test and not ASSERTS.search(text):
        yield "a test that asserts nothing"


NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
BEFORE_FUNCTION = re.compile(r"(?:[\s_]|\b(?:public|private|protected):)*")  # comments are underscores by then
DIGIT_SEPARATOR = re.compile(r"(?<=\d)'(?=\d)")


def brace_functions(text):
    """Lines of each function of C or C++ as clang-format writes them, where a brace behind no space begins no body."""
    text = NO_CODE.sub(lambda found: re.sub(r"[^\n]", "_", found.group()), DIGIT_SEPARATOR.sub("", text))
    text = re.sub(r"(?m)^#.*(?:\\\n.*)*", lambda found: re.sub(r"[^\n]", " ", found.group()), text)
    header = 0  # where what stands before the next brace begins
    depth = 0  # of braces within a function or a value
    body = None
    for at, character in enumerate(text):
        if character == "{" and depth == 0:
            words = re.sub(r"template <.*?>\s", "", text[header:at], flags=re.DOTALL)
            is_value = not text[at - 1].isspace() or "=" in words.split("(")[0]
            if is_value or "(" in words:
                before = None if is_value else BEFORE_FUNCTION.match(text, header)
                depth, body = 1, before.end() if before else None
            else:
                header = at + 1
        elif character == "{":
            depth += 1
        elif character == "}" and depth:
            depth -= 1
            if depth == 0 and body is not None:
                yield text.count("\n", body, at) + 1
                header = at + 1
        elif character in "};" and depth == 0:
            header = at + 1


def language_of(name, text):
    suffix = pathlib.PurePath(name).suffix
    first = text.split("\n", 1)[0]
    if suffix == ".py" or (first.startswith("#!") and "python" in first):
        return "Python"
    if suffix == ".sh" or (first.startswith("#!") and first.endswith("sh")):
        return "shell"
    return {".cpp": "C++", ".hpp": "C++", ".c": "C", ".h": "C"}.get(suffix)


def function_lengths(name, text):
    language = language_of(name, text)
    if language == "Python":
        return [(node.end_lineno or node.lineno) - node.lineno + 1 for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.FunctionDef)]
    if language == "shell":
        return [found.group().count("\n") + 1 for found in re.finditer(r"(?m)^\w+\(\) \{\n(?:(?!\}).*\n)*\}", text)]
    return list(brace_functions(text)) if language else []


def check_functions(sources):
    """Of (name, text) of all product code."""
    lengths: dict[str, list[tuple[int, str]]] = {language: [] for language in FUNCTIONS}
    for name, text in sources:
        for length in function_lengths(name, text):
            lengths[language_of(name, text)].append((length, name))
    for language, found in lengths.items():
        longest, long = FUNCTIONS[language]
        worst, where = max(found, default=(0, ""))
        count = sum(length > LONG for length, _ in found)
        if worst > longest:
            yield f"{where}: the longest function of {language} has {worst} lines; {longest} were the most"
        if count > long:
            yield f"{count} functions of {language} have more than {LONG} lines; there were {long}"
        if found and (worst < longest or count < long):
            print(f"note: FUNCTIONS['{language}'] can be ({worst}, {count})", file=sys.stderr)


def violations(root):
    product = []
    for name in tracked_files(root):
        yield from (f"{name}: {what}" for what in check_name(name))
        if pathlib.PurePath(name).suffix in BINARY_SUFFIXES:
            continue
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if name.startswith(PRODUCT):
            product.append((name, text))
        for check in (check_includes, check_source, check_json, check_one_place, check_hygiene, check_test):
            yield from (f"{name}: {what}" for what in check(name, text))
    yield from check_functions(product)


SPDX = "// SPDX-License-Identifier: MIT\n"
HEADER = SPDX + "#pragma once\n"


class SelfTest(unittest.TestCase):
    """Each rule finds the violation that is planted for it, and nothing in a clean tree."""

    def found(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
            return list(violations(root))

    def expect(self, name, text, word):
        found = self.found(name, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(word, found[0])

    def test_clean_files_pass(self):
        for name, text in {
                "bench/server/a.cpp": SPDX + '#include "bench/targets/target.hpp"\n',
                "bench/micro/a.cpp": SPDX + '#include "bench/server/mode.hpp"\n',
                "probes/lib/a.cpp": SPDX + '#include "bench/base/log_linear.h"\n',
                "probes/a.cpp": SPDX + '#include "bench/control/control.hpp"\n',
                "bench/base/a.hpp": HEADER,
                "analyzers/a.cpp": SPDX + '#include "bench/base/result.hpp"\n',
                "bench/tools/a.cpp": SPDX + '#include "analyzers/compare.hpp"\n',
                "scripts/a.sh": "#!/bin/bash\nif true; then\n\ttrue\nfi\n",
                "tests/unit/a_test.cpp": SPDX + "TEST(A, B) { EXPECT_EQ(1, 1); }\n"}.items():
            self.assertEqual(self.found(name, text), [], name)

    def test_arrows(self):
        for here, other in (("base", "ring"), ("ring", "control"), ("control", "server"),
                            ("server", "tools"), ("targets", "server"), ("targets", "control"),
                            ("load", "control"), ("load", "targets"), ("record", "load"),
                            ("record", "ring"), ("server", "load")):
            self.expect(f"bench/{here}/a.cpp", SPDX + f'#include "bench/{other}/x.hpp"\n',
                        f"bench/{here} must not include bench/{other}/x.hpp")

    def test_folder_without_arrow(self):
        self.expect("bench/newcomer/a.cpp", SPDX + '#include "bench/base/x.hpp"\n', "in no arrow")

    def test_apart(self):
        self.expect("probes/a.cpp", SPDX + '#include "bench/server/server.hpp"\n', "probes must not include")
        self.expect("bench/tools/a.cpp", SPDX + '#include "probes/a.h"\n', "bench must not include")
        self.expect("drgn/a.py", "# SPDX-License-Identifier: MIT\nimport bench.tools\n",
                    "drgn must not import bench")

    def test_analyzers(self):
        self.expect("analyzers/a.cpp", SPDX + '#include "bench/suite/x.hpp"\n',
                    "analyzers must not include bench/suite/x.hpp")
        self.expect("bench/load/a.cpp", SPDX + '#include "analyzers/x.hpp"\n',
                    "bench/load must not include analyzers/x.hpp")

    def test_json(self):
        self.expect("bench/suite/a.hpp", SPDX + "#pragma once\n#include <nlohmann/json_fwd.hpp>\n", "a header that includes JSON")

    def test_spdx(self):
        self.expect("bench/base/a.cpp", "int a;\n", "SPDX")
        self.expect("reports/a.py", "print()\n", "SPDX")

    def test_pragma_once(self):
        self.expect("bench/base/a.hpp", SPDX + "int a();\n", "#pragma once")

    def test_length_of_functions(self):
        cpp = SPDX + """namespace a {
/// { is no brace here
class B : public C {
 public:
  B(int x) : x_{x}, y_(1) {
    call("}{", '}');
  }
  int x_ = 0;
};
const std::array numbers{
    1,
    2};
template <class T>
T two(T t) {
  if (t) {
    return {t};
  }
}
}  // namespace a
"""
        self.assertEqual(function_lengths("bench/a.cpp", cpp), [3, 6])
        self.assertEqual(function_lengths("drgn/a.py", "class A:\n    def b(self):\n        return 1\n\n\ndef c():\n    pass\n"), [2, 2])
        self.assertEqual(function_lengths("scripts/a", "#!/bin/bash\na() {\n\tb\n}\nif c; then\n\td\nfi\n"), [3])
        self.expect("bench/base/a.cpp", SPDX + "void a() {\n" + "  b();\n" * FUNCTIONS["C++"][0] + "}\n",
                    "the longest function of C++")

    def test_white_space(self):
        self.expect("bench/base/a.cpp", SPDX + "int a; \n", "trailing")
        self.expect("bench/base/a.cpp", SPDX + "\tint a;\n", "tab")
        self.expect("bench/base/a.cpp", SPDX + "int a;", "newline")

    def test_one_place(self):
        for planted, place in (("::fork()", "bench/process/"), ("::waitpid(1)", "bench/process/"),
                               ('std::println(stderr, "")', "bench/base/format"),
                               ('std::format("")', "bench/base/format"),
                               ("json.dump(2)", "bench/base/json_text"),
                               ("mode.buffer == zc", "bench/server/m"), ("BufferMode::zc", "bench/server/m")):
            self.expect("bench/suite/a.cpp", SPDX + f"int a = {planted};\n", f"stands in {place} only")
            self.assertEqual(self.found(f"{place}/a.cpp", SPDX + f"int a = {planted};\n"), [])

    def test_machine_specific_text(self):
        for planted in ("/ro" + "ot/notes", "/ro" + "ot/.cache", "/wo" + "rk/main",
                        "http://deb.deb" + "ian.org/debian", "https://registry.npm" + "js.org",
                        "docker" + ".io/x"):
            self.expect("docs/a.md", planted + "\n", planted[:5])

    def test_names(self):
        self.expect("drgn/__init__.py", "", "shadows")
        self.expect("probes/vmlinux.h", HEADER, "generated")

    def test_test_without_assertion(self):
        self.expect("tests/unit/a_test.cpp", SPDX + "TEST(A, B) { run(); }\n", "asserts nothing")
        self.expect("tests/python/test_a.py", "# SPDX-License-Identifier: MIT\ndef test_a(): run()\n",
                    "asserts nothing")


def main(arguments):
    if arguments == ["--self-test"]:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(SelfTest)
        return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1
    root = pathlib.Path(arguments[0] if arguments else pathlib.Path(__file__).parent.parent).resolve()
    found = list(violations(root))
    for violation in found:
        print(violation)
    print(f"tidy: {len(found)} violation(s) in {len(tracked_files(root))} files", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

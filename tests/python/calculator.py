# SPDX-License-Identifier: MIT
"""The analyzers' own calculations, through tests/python/statistics_calculator.cpp."""

import json
import subprocess

import records

PROGRAM = records.BUILD / "tests/python/statistics_calculator"


def calculate(requests):
    """The answers of the C++ code, one a request."""
    text = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run([PROGRAM], input=text, capture_output=True, text=True, check=True, timeout=300)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(requests)
    return answers

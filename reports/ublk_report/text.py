# SPDX-License-Identifier: MIT
"""Sizes, counts and times as people read them; the same as bench/base/units.hpp."""


def size(value: int) -> str:
    for unit, factor in (("M", 1 << 20), ("k", 1 << 10)):
        if value >= factor and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def count(value: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.1f}{unit}"
    return f"{value:.0f}"


def time_ns(value: float) -> str:
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value:.3g} ns"


def whole(value: float) -> str:
    return f"{value:.0f}"


def fine(value: float) -> str:
    return f"{value:.2f}"

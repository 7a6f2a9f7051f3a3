#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The analyzers' statistics against scipy, on random data of every awkward kind, and their properties."""

import math
import random
import sys
import unittest

from calculator import calculate

try:
    import numpy
    from scipy import stats
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

def samples(rng, kind, n):
    if kind == "continuous":
        return [rng.lognormvariate(5, 0.3) for _ in range(n)]
    if kind == "ties":
        return [float(rng.randint(1, 6)) for _ in range(n)]
    if kind == "constant":
        return [42.0] * n
    if kind == "huge":
        return [rng.uniform(1e300, 1.7e308) for _ in range(n)]
    if kind == "tiny":
        return [rng.uniform(1e-308, 1e-300) for _ in range(n)]
    raise ValueError(kind)


KINDS = ("continuous", "ties", "constant", "huge", "tiny")
SIZES = (1, 2, 3, 5, 6, 9, 10, 20, 33)


def outside_exact(n, m, confidence):
    """How many differences lie outside on each side: the most c with 2 P(U < c) <= 1 - confidence, by scipy."""
    count = 0
    while count < n * m / 2:
        # A pair of samples without ties whose U is `count`: the test's p is 2 P(U <= count).
        u = count
        ranks = list(range(n))
        for at in range(n - 1, -1, -1):
            step = min(u, m)
            ranks[at] += step
            u -= step
        a = [float(rank) for rank in ranks]
        b = [float(rank) for rank in range(n + m) if rank not in set(ranks)]
        if stats.mannwhitneyu(a, b, method="exact").pvalue > 1 - confidence:
            break
        count += 1
    return count


class Oracle(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(20261121)

    def pairs(self):
        for kind in KINDS:
            for n in SIZES:
                for m in (1, 2, 5, 10, 20):
                    yield kind, samples(self.rng, kind, n), samples(self.rng, kind, m)

    def test_median(self):
        cases = [(kind, n, samples(self.rng, kind, n)) for kind in KINDS for n in (*SIZES, 50, 101)]
        for (kind, n, a), answer in zip(cases, calculate([{"a": a} for _, _, a in cases])):
            with self.subTest(kind=kind, n=n):
                ordered = sorted(a)
                middle = ordered[n // 2] if n % 2 else ordered[n // 2 - 1] / 2 + ordered[n // 2] / 2
                self.assertEqual(answer["median"], middle)
                if kind != "huge":  # numpy's mean of two overflows there
                    self.assertTrue(math.isclose(answer["median"], float(numpy.median(a)), rel_tol=1e-12))

    def test_geometric_mean(self):
        cases = [samples(self.rng, kind, n) for kind in KINDS for n in SIZES]
        for a, answer in zip(cases, calculate([{"a": a} for a in cases])):
            self.assertTrue(math.isclose(answer["geometric_mean"], float(stats.gmean(a)), rel_tol=1e-9))

    def test_shift_is_the_median_of_all_differences(self):
        cases = list(self.pairs())
        for (kind, a, b), answer in zip(cases, calculate([{"a": a, "b": b} for _, a, b in cases])):
            with self.subTest(kind=kind, n=len(a), m=len(b)):
                differences = sorted(y - x for x in a for y in b)
                half = len(differences) // 2
                expected = (differences[half] if len(differences) % 2
                            else differences[half - 1] / 2 + differences[half] / 2)
                self.assertEqual(answer["shift"]["estimate"], expected)

    def test_the_interval_of_the_shift_inverts_scipys_exact_test(self):
        """Inside the interval the test does not reject the shift, outside it does."""
        cases = [(n, m, confidence, samples(self.rng, "continuous", n), samples(self.rng, "continuous", m))
                 for n in (4, 5, 6, 10, 12) for m in (4, 5, 7, 10) for confidence in (0.9, 0.95, 0.98)]
        answers = calculate([{"a": a, "b": b, "confidence": c} for _, _, c, a, b in cases])
        found = 0
        for (n, m, confidence, a, b), answer in zip(cases, answers):
            with self.subTest(n=n, m=m, confidence=confidence):
                interval = answer["shift"]["interval"]
                smallest_p = 2 / math.comb(n + m, n)
                self.assertEqual(interval is None, smallest_p > 1 - confidence)
                if interval is None:
                    continue
                found += 1
                low, high = interval
                step = (high - low) * 1e-6

                def p_of(shift, a=a, b=b):
                    return stats.mannwhitneyu(a, [y - shift for y in b], method="exact").pvalue

                for inside in (low + step, answer["shift"]["estimate"], high - step):
                    self.assertGreater(p_of(inside), 1 - confidence)
                for outside in (low - step, high + step):
                    self.assertLessEqual(p_of(outside), 1 - confidence)
        self.assertGreater(found, 30)


    def test_intervals_of_awkward_values(self):
        """Ties, constants, huge and tiny values: the order statistics that scipy's exact distribution names."""
        cases = [(kind, n, m, samples(self.rng, kind, n), samples(self.rng, kind, m))
                 for kind in KINDS for n, m in ((1, 1), (1, 9), (4, 5), (5, 5), (6, 9), (10, 10), (20, 10))]
        answers = calculate([{"a": a, "b": b, "confidence": 0.98} for _, _, _, a, b in cases])
        found = 0
        for (kind, n, m, a, b), answer in zip(cases, answers):
            with self.subTest(kind=kind, n=n, m=m):
                outside = outside_exact(n, m, 0.98)
                for name, x, y in (("shift", a, b), ("ratio", [math.log(v) for v in a], [math.log(v) for v in b])):
                    interval = answer[name]["interval"]
                    self.assertEqual(interval is None, outside == 0)
                    if interval is None:
                        continue
                    found += 1
                    ordered = sorted(v - u for u in x for v in y)
                    expected = [ordered[outside - 1], ordered[len(ordered) - outside]]
                    if name == "ratio":
                        expected = [math.exp(v) for v in expected]
                    for got, wanted in zip(interval, expected):
                        self.assertTrue(math.isclose(got, wanted, rel_tol=1e-9, abs_tol=0), (got, wanted))
                if kind == "constant":
                    self.assertEqual(answer["ratio"]["estimate"], 1)
        self.assertGreater(found, 40)

    def test_the_interval_of_large_samples(self):
        """Beyond 2500 pairs the normal approximation names the order statistics."""
        a, b = samples(self.rng, "continuous", 80), samples(self.rng, "ties", 60)
        for confidence in (0.9, 0.98):
            (answer,) = calculate([{"a": a, "b": b, "confidence": confidence}])
            n, m = len(a), len(b)
            deviation = math.sqrt(n * m * (n + m + 1) / 12)
            outside = math.floor(n * m / 2 - stats.norm.ppf((1 + confidence) / 2) * deviation - 0.5)
            ordered = sorted(y - x for x in a for y in b)
            self.assertEqual(answer["shift"]["interval"], [ordered[outside - 1], ordered[n * m - outside]])


class Properties(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(7)
        self.cases = [(samples(self.rng, "continuous", 8), samples(self.rng, "continuous", 9)) for _ in range(50)]

    def test_the_order_of_samples_does_not_matter(self):
        before = calculate([{"a": a, "b": b} for a, b in self.cases])
        shuffled = [{"a": self.rng.sample(a, len(a)), "b": self.rng.sample(b, len(b))} for a, b in self.cases]
        for one, other in zip(before, calculate(shuffled)):
            # Of a sum the last bits depend on the order.
            self.assertTrue(math.isclose(one.pop("geometric_mean"), other.pop("geometric_mean"), rel_tol=1e-12))
            self.assertEqual(one, other)

    def test_exchanged_sides_give_the_reciprocal(self):
        forward = calculate([{"a": a, "b": b} for a, b in self.cases])
        backward = calculate([{"a": b, "b": a} for a, b in self.cases])
        for one, other in zip(forward, backward):
            self.assertTrue(math.isclose(one["ratio"]["estimate"] * other["ratio"]["estimate"], 1, rel_tol=1e-12))
            low, high = one["ratio"]["interval"]
            self.assertTrue(math.isclose(low * other["ratio"]["interval"][1], 1, rel_tol=1e-12))
            self.assertTrue(math.isclose(high * other["ratio"]["interval"][0], 1, rel_tol=1e-12))

    def test_scale_does_not_change_a_ratio(self):
        before = calculate([{"a": a, "b": b} for a, b in self.cases])
        scaled = calculate([{"a": [1000 * x for x in a], "b": [1000 * y for y in b]} for a, b in self.cases])
        for one, other in zip(before, scaled):
            self.assertTrue(math.isclose(one["ratio"]["estimate"], other["ratio"]["estimate"], rel_tol=1e-12))

    def test_the_estimate_lies_in_its_interval(self):
        for answer in calculate([{"a": a, "b": b, "confidence": 0.98} for a, b in self.cases]):
            low, high = answer["ratio"]["interval"]
            self.assertTrue(low <= answer["ratio"]["estimate"] <= high)

    def test_the_interval_covers_the_truth_as_often_as_it_says(self):
        """1000 pairs of one distribution: 98 % intervals hold ratio 1 in at least 96 % (binomial, p < 1e-4)."""
        rng = random.Random(98)
        pairs = [{"a": samples(rng, "continuous", 10), "b": samples(rng, "continuous", 10), "confidence": 0.98}
                 for _ in range(1000)]
        covered = sum(low <= 1 <= high for low, high in (x["ratio"]["interval"] for x in calculate(pairs)))
        self.assertGreaterEqual(covered, 960)

    def test_values_that_have_no_ratio(self):
        for bad in ([0.0, 1.0], [-1.0, 2.0]):
            (answer,) = calculate([{"a": bad, "b": [1.0, 2.0]}])
            self.assertIsNone(answer["ratio"])
            self.assertIsNone(answer["geometric_mean"])

    def test_no_samples(self):
        (answer,) = calculate([{"a": [], "b": [1.0]}])
        for name in ("median", "geometric_mean", "shift", "ratio"):
            self.assertIsNone(answer[name], name)


class Percentiles(unittest.TestCase):
    def test_within_the_stated_error_of_exact_ones(self):
        rng = random.Random(3)
        percents = [0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0]
        cases = [[rng.randint(0, 127) for _ in range(500)],
                 [int(rng.lognormvariate(10, 2)) for _ in range(2000)],
                 [rng.randint(0, 2**63) for _ in range(300)], [7], [10**12] * 4]
        for values, answer in zip(cases, calculate([{"a": v, "percents": percents} for v in cases])):
            ordered = sorted(values)
            for percent, got in zip(percents, answer["percentiles"]):
                exact = ordered[max(1, math.ceil(percent / 100 * len(ordered))) - 1]
                self.assertLessEqual(abs(got - exact), 0 if exact < 128 else exact * 0.008, (percent, exact))
                oracle = numpy.percentile(numpy.array(ordered, dtype=object), percent, method="inverted_cdf")
                self.assertEqual(exact, oracle)


if __name__ == "__main__":
    unittest.main(verbosity=1)

"""Slow, obvious twins of the kernels. Nothing here is meant to be fast."""

from __future__ import annotations

import itertools
import json
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import orjson


def latency_buckets() -> list[tuple[int, float]]:
    """Every bucket of the latency histogram as (lower, upper], built from its description."""
    edges = [16 * n for n in range(64)]
    start = 1024
    while start < 2**40:
        edges += [start + n * start // 64 for n in range(64)]
        start *= 2
    edges.append(2**40)
    return [*zip(edges, map(float, edges[1:]), strict=False), (2**40, math.inf)]


def latency_bucket(ns: int) -> int:
    """The bucket that holds a latency, by looking at all of them."""
    if ns <= 0:
        return 0
    return next(at for at, (low, high) in enumerate(latency_buckets()) if low < ns <= high)


def nearest_rank(values: Sequence[int], share: float) -> int:
    """The smallest value that at least `share` of all do not pass."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(share * len(ordered))) - 1]


def json_floats(text: bytes, shape: Sequence[int]) -> list[float] | None:
    """The numbers of arrays nested to `shape`, by the standard library; None for anything else."""
    try:
        # The integer -0 is 0; NaN and infinity are not JSON.
        nested = json.loads(text, parse_int=lambda token: float(token) + 0.0, parse_constant=int)
    except ValueError:
        return None
    flat: list[Any] = [nested]
    for size in shape:
        if any(type(part) is not list or len(part) != size for part in flat):
            return None
        flat = [inner for part in flat for inner in part]
    return flat if all(type(number) is float for number in flat) else None


def count_column(values: Sequence[Any], edges: Sequence[Any], low: Any, high: Any) -> Counts:
    """One numeric column by hand: bins of right-closed intervals, and what has none."""
    counts = Counts([0] * (len(edges) + 1))
    for value in values:
        if value != value:
            counts.nan += 1
        elif value in (math.inf, -math.inf):
            counts.pos_inf += value > 0
            counts.neg_inf += value < 0
        else:
            counts.bins[sum(edge < value for edge in edges)] += 1
            counts.below += value < low
            counts.above += value > high
            counts.seen.append(value)
    return counts


def count_categories(values: Sequence[Any], categories: Sequence[Any]) -> Counts:
    """One column of numbers that stand for categories, by hand."""
    counts = Counts([0] * len(categories))
    for value in values:
        if value != value:
            counts.nan += 1
        elif value in (math.inf, -math.inf):
            counts.pos_inf += value > 0
            counts.neg_inf += value < 0
        else:
            if value in categories:
                counts.bins[list(categories).index(value)] += 1
            else:
                counts.unseen += 1
            counts.seen.append(value)
    return counts


def count_ids(values: Sequence[int], categories: int) -> Counts:
    """One column of category ids, by hand."""
    counts = Counts([0] * categories)
    for value in values:
        if 0 <= value < categories:
            counts.bins[value] += 1
        elif value == -2:
            counts.null += 1
        elif value == -3:
            counts.wrong_type += 1
        else:
            counts.unseen += 1
    return counts


@dataclass
class Counts:
    """What is counted of one column, and the finite values that its moments are of."""

    bins: list[int]
    nan: int = 0
    null: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    below: int = 0
    above: int = 0
    wrong_type: int = 0
    unseen: int = 0
    seen: list[Any] = field(default_factory=list)

    def special(self) -> list[int]:
        """The counters beside the bins, in the order of a slot's words."""
        return [
            *(self.nan, self.null, self.pos_inf, self.neg_inf),
            *(self.below, self.above, self.wrong_type, self.unseen),
        ]

    def moments(self, centre: float) -> tuple[int, float, float, float, float]:
        """Number, sum and sum of squares of value - centre, minimum, maximum; summed in order."""
        total = squares = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            for value in self.seen:
                off = np.float64(value) - centre
                total, squares = total + off, squares + off * off
        reals = [float(value) for value in self.seen]
        least, most = min(reals, default=math.inf), max(reals, default=-math.inf)
        return len(reals), float(total), float(squares), least, most


def shares(counts: Sequence[int], floor: float = 0.0) -> list[float]:
    """Counts as parts of their sum, none below the floor."""
    return [max(count / sum(counts), floor) for count in counts]


def kl(p: Sequence[float], q: Sequence[float]) -> float:
    """KL(p || q) in nats; shares of 0 in p add nothing."""
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def divergences(expected: Sequence[int], observed: Sequence[int], floor: float) -> list[float]:
    """All divergences of one column by their definitions, in the kernel's order."""
    p, q = shares(expected), shares(observed)
    high_p, high_q = shares(expected, floor), shares(observed, floor)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    pairs = list(zip(p, q, strict=True))
    js = (kl(p, middle) + kl(q, middle)) / 2
    return [
        math.fsum((a - b) * math.log(a / b) for a, b in zip(high_p, high_q, strict=True)),
        kl(high_p, high_q) - math.fsum(high_p) + math.fsum(high_q),
        js,
        math.sqrt(max(js, 0.0)),
        math.sqrt(math.fsum((math.sqrt(a) - math.sqrt(b)) ** 2 for a, b in pairs) / 2),
        math.fsum(abs(a - b) for a, b in pairs) / 2,
        max(abs(a - b) for a, b in pairs),
    ]


def steps(counts: Sequence[int]) -> list[Fraction]:
    """The distribution function after each bin, exactly."""
    return [Fraction(sum(counts[: at + 1]), sum(counts)) for at in range(len(counts))]


def ks_of_bins(expected: Sequence[int], observed: Sequence[int]) -> tuple[float, float]:
    """The smallest and the largest D that samples with these counts can have, exactly."""
    p, q = [Fraction(0), *steps(expected)], [Fraction(0), *steps(observed)]
    low = max(abs(a - b) for a, b in zip(p, q, strict=True))
    inside = [max(q[at + 1] - p[at], p[at + 1] - q[at]) for at in range(len(expected))]
    return float(low), float(max(low, *inside))


def wasserstein_of_bins(
    expected: Sequence[int], observed: Sequence[int], edges: Sequence[float]
) -> float:
    """The area between two distribution functions that are straight inside each bin, exactly."""
    p, q = [Fraction(0), *steps(expected)], [Fraction(0), *steps(observed)]
    area = Fraction(0)
    for at in range(len(expected)):
        left, right = q[at] - p[at], q[at + 1] - p[at + 1]
        size = Fraction(edges[at + 1]) - Fraction(edges[at])
        if left * right < 0:
            area += size * (left**2 + right**2) / (2 * (abs(left) + abs(right)))
        else:
            area += size * abs(left + right) / 2
    return float(area)


def image_figures(channel: Sequence[float], low: float, high: float) -> list[float]:
    """Mean, deviation, range and saturated share of one channel's pixels."""
    mean = math.fsum(channel) / len(channel)
    spread = math.fsum((x - mean) ** 2 for x in channel) / len(channel)
    saturated = sum(x <= low or x >= high for x in channel) / len(channel)
    return [mean, math.sqrt(spread), max(channel) - min(channel), saturated]


def sign_words(seed: int) -> Iterator[int]:
    """SplitMix64: the 64-bit words that follow a seed."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        mixed = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
        yield mixed ^ (mixed >> 31)


def projection_signs(seed: int, width: int) -> list[list[int]]:
    """The signs of eight projections: a random one a place, times a Hadamard matrix' row."""
    hadamard = [[1]]
    for _ in range(3):
        hadamard = [row + row for row in hadamard] + [
            row + [-sign for sign in row] for row in hadamard
        ]
    words = sign_words(seed)
    bits = [word >> place & 1 for word in islice(words, -(-width // 64)) for place in range(64)]
    return [[(1 - 2 * bits[d]) * row[d % 8] for d in range(width)] for row in hadamard]


def embedding_figures(row: Sequence[float], seed: int) -> list[float]:
    """Norm, mean, deviation and projections of one row."""
    mean = math.fsum(row) / len(row)
    spread = math.fsum((x - mean) ** 2 for x in row) / len(row)
    projections = [
        math.fsum(sign * x for sign, x in zip(signs, row, strict=True)) / math.sqrt(len(row))
        for signs in projection_signs(seed, len(row))
    ]
    return [math.sqrt(math.fsum(x * x for x in row)), mean, math.sqrt(spread), *projections]


def probability_figures(scores: Sequence[float]) -> list[float]:
    """Entropy in nats, top score, top class and margin of one row."""
    entropy = -math.fsum(p * math.log(p) for p in scores if p)
    first, second = sorted(scores, reverse=True)[:2]
    return [entropy, first, list(scores).index(first), first - second]


def urn(start: Sequence[Fraction], rows: Sequence[int]) -> Fraction:
    """The probability of rows drawn one by one from Polya's urn, which gains what is drawn."""
    content, probability = list(start), Fraction(1)
    for group in rows:
        probability *= content[group] / sum(content, Fraction(0))
        content[group] += 1
    return probability


def e_value(reference: Sequence[int], rows: Sequence[int], concentration: int) -> Fraction:
    """The e-value of independent rows (each the group it falls into), row by row and exactly."""
    null = [count + Fraction(1, 2) for count in reference]
    whole = sum(null, Fraction(0))
    change = min(Fraction(concentration), whole / 4)
    return urn([change * part / whole for part in null], rows) / urn(null, rows)


def e_bh(e_values: Sequence[float], alpha: float) -> set[int]:
    """The largest set whose every member is at least columns / (alpha times its size)."""
    ordered = sorted(range(len(e_values)), key=lambda at: -e_values[at])
    named = 0
    for size in range(1, len(ordered) + 1):
        if e_values[ordered[size - 1]] >= len(e_values) / (alpha * size):
            named = size
    return set(ordered[:named])


def neighbours_differ(
    panes: Sequence[Sequence[int]], scale: int, scores: Sequence[float]
) -> tuple[float, int]:
    """Standardised squared differences of neighbouring batches along scores: sum and number."""
    size = 2**scale
    whole = [panes[at : at + size] for at in range(0, len(panes) - size + 1, size)]
    batches = [[sum(group) for group in zip(*batch, strict=True)] for batch in whole]
    some = [batch for batch in batches if any(batch)]
    total = 0.0
    for one, other in itertools.pairwise(some):
        first, second = (
            sum(s * c for s, c in zip(scores, batch, strict=True)) / sum(batch)
            for batch in (one, other)
        )
        total += (first - second) ** 2 / (1 / sum(one) + 1 / sum(other))
    return total, max(len(some) - 1, 0)


def widest_scatter(
    panes: Sequence[Sequence[int]], scale: int, reference: Sequence[float], too_large: float = 1.0
) -> float:
    """The same of groups without order: along what they scatter most, where noise cannot be that.

    Independent rows have eigenvalues within (1 - g)^2 and (1 + g)^2 of their mean; of one beyond
    counts the root of its distances from both.
    """
    size = 2**scale
    whole = [panes[at : at + size] for at in range(0, len(panes) - size + 1, size)]
    batches = [np.sum(batch, axis=0) for batch in whole]
    some = [batch for batch in batches if batch.any()]
    if len(some) < 2:
        return 0.0
    apart = [
        (one / one.sum() - other / other.sum()) / math.sqrt(1 / one.sum() + 1 / other.sum())
        for one, other in itertools.pairwise(some)
    ]
    units = np.array(apart) / np.sqrt(np.array(reference))
    values = np.linalg.eigvalsh(units.T @ units)
    p = len(reference) - 1
    mean, g = float(values.sum() / p), math.sqrt(1.5 * p / (len(some) - 1))
    low, high, top = mean * (1 - g) ** 2, mean * (1 + g) ** 2, float(values[-1]) * too_large
    return mean if top <= high else mean + math.sqrt((top - low) * (top - high))


def ledger_sums(rows: list[dict[str, float]], threshold: float = 0.5) -> dict[str, float]:
    """What labelled binary scores add up to: figures by their definition, one row at a time."""
    eps = 2.0**-52
    names = ("tp", "fp", "tn", "fn", "log_loss", "log_loss_squares", "fourth_powers")
    sums = dict.fromkeys((*names, "chosen", "chosen_s", "chosen_ss", "labelled_chosen_s"), 0.0)
    for row in rows:
        score, outcome = min(max(row["score"], eps), 1 - eps), row["outcome"]
        loss = -(outcome * math.log(score) + (1 - outcome) * math.log(1 - score))
        sums["log_loss"] += loss
        sums["log_loss_squares"] += loss**2
        sums["fourth_powers"] += (row["score"] - outcome) ** 4
        said = row["score"] > threshold
        sums[("t" if said == bool(outcome) else "f") + ("p" if said else "n")] += 1
        if said:
            sums["chosen"] += 1
            sums["chosen_s"] += row["score"]
            sums["chosen_ss"] += row["score"] ** 2
            sums["labelled_chosen_s"] += row["score"]
    return sums


def residual_bucket(error: float) -> tuple[float, float]:
    """The bucket that an error lies in: 32 of equal width in each doubling of its size."""
    size = abs(error)
    if size < 2.0**-24:
        return -(2.0**-24), 2.0**-24
    last = 2.0**40 * (63 / 64)  # the last one below 2^40, which takes all beyond as well
    if size >= last:
        return (last, math.inf) if error > 0 else (-math.inf, -last)
    width = 2.0 ** math.floor(math.log2(size)) / 32
    low = math.floor(size / width) * width
    return (low, low + width) if error > 0 else (-(low + width), -low)


def fairness_rates(
    rows: Sequence[tuple[str, float, float | None]],
) -> dict[str, dict[str, float | None]]:
    """Of rows (group, score, outcome or none) each group's rates, by their definitions."""

    def share(some: list[bool]) -> float | None:
        return sum(some) / len(some) if some else None

    found = {}
    for group in {name for name, _, _ in rows}:
        said = [(score > 0.5, outcome) for name, score, outcome in rows if name == group]
        known = [(one, outcome) for one, outcome in said if outcome is not None]
        found[group] = {
            "selection_rate": share([one for one, _ in said]),
            "base_rate": share([outcome == 1 for _, outcome in known]),
            "true_positive_rate": share([one for one, outcome in known if outcome == 1]),
            "false_positive_rate": share([one for one, outcome in known if outcome == 0]),
            "accuracy": share([one == (outcome == 1) for one, outcome in known]),
        }
    return found


def number_sums(values: Sequence[float]) -> list[float]:
    """How many numbers, their sum, mean, squares around it, least and largest."""
    if not values:
        return [0.0, 0.0, 0.0, 0.0, math.inf, -math.inf]
    total = math.fsum(values)
    mean = total / len(values)
    around = math.fsum((value - mean) ** 2 for value in values)
    return [len(values), total, mean, around, min(values), max(values)]


def meant(
    streams: Sequence[Sequence[tuple[int, int, int]]], digest: int, series: set[int]
) -> set[tuple[int, int]]:
    """The requests, by stream and sequence, that have a digest; of some series, or of any."""
    return {
        (number, sequence)
        for number, entries in enumerate(streams)
        for one, sequence, its in entries
        if one == digest and (not series or its in series)
    }


def bin_of(score: float, bins: int) -> int:
    """Which of bins of equal width holds a score; each holds its upper edge."""
    return next(number for number in range(bins) if score <= (number + 1) / bins)


def broken_rule(
    value: Any,
    least: Any = None,
    most: Any = None,
    categories: Sequence[Any] | None = None,
    *,
    whole: bool = False,
    missing: bool = False,
    infinite: bool = False,
    others: bool = False,
) -> str | None:
    """The rule of a contract that a number breaks, asked one after the other."""
    if value != value:
        return None if missing else "missing"
    if categories is not None:
        return None if others or value in categories else "unseen"
    if value in (math.inf, -math.inf):
        return None if infinite else "infinite"
    if least is not None and least == most:
        return None if value == least else "constant"
    if least is not None and value < least:
        return "below"
    if most is not None and value > most:
        return "above"
    return "fraction" if whole and value != math.floor(value) else None


def page_hinkley(
    losses: Sequence[float], delta: float, limit: float, least_rows: int, least_deviation: float
) -> list[int]:
    """At which losses, from 1 on, the mean has risen."""
    rises, start = [], 0
    for end in range(1, len(losses) + 1):
        total, lowest = 0.0, 0.0
        for upto in range(start + least_rows, end + 1):
            some = losses[start:upto]
            deviation = max(statistics.pstdev(some), least_deviation)
            total += (some[-1] - statistics.fmean(some)) / deviation - delta
            lowest = min(lowest, total)
        if total - lowest > limit:
            rises.append(end)
            start = end
    return rises


def adwin(
    losses: Sequence[float], delta: float, clock: int, least_part: int, per_level: int
) -> tuple[list[int], int, list[float]]:
    """At which losses, from 1 on, a rise was found; how many falls were; and what is left."""
    buckets: list[list[float]] = []
    rises, falls = [], 0
    for seen, loss in enumerate(losses, 1):
        buckets.append([loss])
        size = 1
        while len(same := [n for n, one in enumerate(buckets) if len(one) == size]) > per_level:
            buckets[same[0] : same[0] + 2] = [buckets[same[0]] + buckets[same[1]]]
            size *= 2
        if seen % clock:
            continue
        first = change = _adwin_change(buckets, delta, least_part)
        while change:
            del buckets[0]
            change = _adwin_change(buckets, delta, least_part)
        if first > 0:
            rises.append(seen)
        falls += first < 0
    return rises, falls, [loss for one in buckets for loss in one]


def _adwin_change(buckets: list[list[float]], delta: float, least_part: int) -> int:
    window = [loss for one in buckets for loss in one]
    if len(window) < 2 * least_part:
        return 0
    variance = statistics.pvariance(window)
    log_term = math.log(2.0 * math.log(len(window)) / delta)
    old = 0
    for one in buckets:
        old += len(one)
        if len(window) - old < least_part:
            return 0
        if old >= least_part:
            harmonic = 1.0 / old + 1.0 / (len(window) - old)
            chance = math.sqrt(2.0 * harmonic * variance * log_term)
            chance += 2.0 / 3.0 * harmonic * log_term
            apart = statistics.fmean(window[old:]) - statistics.fmean(window[:old])
            if abs(apart) > chance:
                return 1 if apart > 0 else -1
    return 0


def expected_figures(
    scores: Sequence[float], chances: Sequence[float], threshold: float
) -> dict[str, float]:
    """Figures that rows are expected to have, one row, and one pair of rows, after the other.

    Args:
        scores: of rows.
        chances: how probable it is that each is positive.
        threshold: above which positive is predicted.
    """
    tp = fp = tn = fn = 0.0
    for score, chance in zip(scores, chances, strict=True):
        if score > threshold:
            tp, fp = tp + chance, fp + 1.0 - chance
        else:
            fn, tn = fn + chance, tn + 1.0 - chance
    above = pairs = 0.0
    for score, chance in zip(scores, chances, strict=True):
        for other, others in zip(scores, chances, strict=True):
            weight = chance * (1.0 - others)
            pairs += weight
            above += weight * ((score > other) + 0.5 * (score == other))
    return {
        "accuracy": (tp + tn) / len(scores),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "specificity": tn / (tn + fp),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "mean_outcome": (tp + fn) / len(scores),
        "roc_auc": above / pairs,
    }


def isotonic(rates: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The ascending numbers nearest to rates: of each, the largest of smallest means around it."""

    def mean(first: int, last: int) -> float:
        part = range(first, last + 1)
        return sum(rates[i] * weights[i] for i in part) / sum(weights[i] for i in part)

    n = len(rates)
    return [
        max(min(mean(first, last) for last in range(place, n)) for first in range(place + 1))
        for place in range(n)
    ]


def rows_of_arms(
    records: Any,
    numbers: Any,
    arm_of: Any,
    asked: tuple[int, int, int, int, int],
    threshold: float,
) -> list[tuple[int, int, int, int, int, float]]:
    """Place, arm, code, cluster, first and number of each row of an arm, one after the other."""
    first_ms, until_ms, which, absent_is_zero, now_ms = asked
    reals = records.view(np.float64)
    found = []
    for place, words in enumerate(records.tolist()):
        sequence, at_ms, series, row = words[0], words[1], words[2] >> 32, words[2] & 0xFFFFFFFF
        top, lot = words[4] >> 32, words[4] >> 8 & 0xFFFFFF
        score, outcome = float(reals[place, 3]), float(reals[place, 5])
        if series >= len(arm_of) or arm_of[series] < 0 or at_ms < first_ms:
            continue
        right = outcome == top if top >= 0 else (score > threshold) == (outcome == 1.0)
        unknown = top == -2 or math.isnan(outcome) or math.isnan(score)
        number = [
            numbers[place] if len(numbers) else math.nan,
            outcome,
            math.nan if unknown else float(right),
            math.nan if unknown else float(not right),
            (score - outcome) ** 2,
            abs(score - outcome),
        ][which]
        if math.isnan(number) and absent_is_zero:
            number = 0.0
        if until_ms < at_ms <= now_ms:
            number = math.nan
        cluster = lot % 1024 or sequence % 1024
        found.append((place, int(arm_of[series]), lot // 1024, cluster, int(row == 0), number))
    return found


def compared_pairs(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    kind: str,
    column: int = 0,
    threshold: float = 0.5,
    tolerance: float = 0.01,
) -> list[dict[str, Any]]:
    """Each pair of answers by itself: whether they agree, and by how much they differ."""
    found: list[dict[str, Any]] = []
    for was, now in zip(first, second, strict=True):
        best = was.index(max(was)) if kind == "multiclass" else column
        difference = now[best] - was[best]
        if not math.isfinite(difference):
            found.append({"unlike": True, "unlikeness": 4.0})
            continue
        size = difference
        if kind == "value":
            larger = max(abs(was[best]), abs(now[best]))
            size = difference / larger if larger else 0.0
            agreed = abs(size) <= tolerance
        elif kind == "binary":
            agreed = (was[best] > threshold) == (now[best] > threshold)
        else:
            agreed = best == now.index(max(now))
        found.append(
            {
                "unlike": False,
                "agreed": agreed,
                "difference": difference,
                "size": size,
                "level": min(int(now[best] * 10), 9) if kind != "value" else None,
                "scores": (was[best], now[best]),
                "unlikeness": min(abs(size), 1.0) if agreed else 1.0 + min(abs(size), 2.0),
            }
        )
    return found


def text_likeness(first: str, second: str, shingle: int) -> float:
    """The share of pieces of two texts that stand in both; NaN where both are empty."""
    pieces = [
        {text[at : at + shingle] for at in range(max(len(text) - shingle + 1, 1))} - {""}
        for text in (first, second)
    ]
    every = pieces[0] | pieces[1]
    return len(pieces[0] & pieces[1]) / len(every) if every else math.nan


def compared_answers(
    first: Sequence[Sequence[float]],
    second: Sequence[Sequence[float]],
    aspects: int,
    largest: float,
) -> list[dict[str, Any]]:
    """Each pair of answers by itself: aspects that differ, and logarithms of ratios of measures."""
    found: list[dict[str, Any]] = []
    for was, now in zip(first, second, strict=True):
        pairs = list(zip(was, now, strict=True))
        ratios: list[float | None] = []
        for one, other in pairs[aspects:]:
            if not (math.isfinite(one) and math.isfinite(other)):
                ratios.append(None)
            elif one > 0 and other > 0:
                ratios.append(min(max(math.log(other / one, largest), -1.0), 1.0))
            else:
                ratios.append(float((other > one) - (one > other)))
        known = [None if math.isnan(a) or math.isnan(b) else (a, b) for a, b in pairs[:aspects]]
        found.append({"aspects": known, "ratios": ratios})
    return found


class LimitedThing:
    """One row of limits, as one process alone would keep it: exact, with nobody in between.

    Args:
        ceilings: of money and tokens, each of a day, a month and for ever; None: no limit.
        parallel: requests under way.
        rates: requests and tokens per minute.
    """

    def __init__(
        self,
        ceilings: Sequence[int | None],
        parallel: int | None,
        rates: Sequence[int | None],
    ) -> None:
        self.ceilings, self.parallel, self.rates = ceilings, parallel, rates
        self.spent, self.held = [0, 0, 0], [0, 0, 0]
        self.due = [Fraction(0), Fraction(0)]

    def refuses(self, money: int, tokens: int, now: int) -> int | None:
        """Which limit does not cover a request, in the order in which they are asked; None: all do.

        Ceilings come first (0 to 5), then requests under way (6), then rates (7 and 8).
        """
        for unit, wanted in enumerate((money, tokens)):
            known = [
                (ceiling, unit * 3 + window)
                for window, ceiling in enumerate(self.ceilings[unit * 3 : unit * 3 + 3])
                if ceiling is not None
            ]
            if known and self.spent[unit] + self.held[unit] + wanted > min(known)[0]:
                return min(known)[1]
        if self.parallel is not None and self.held[2] + 1 > self.parallel:
            return 6
        for rate, (limit, amount) in enumerate(zip(self.rates, (1, tokens), strict=True)):
            if (
                limit is not None
                and amount
                and self.level(rate, now) + cost(amount, limit) > MINUTE
            ):
                return 7 + rate
        return None

    def level(self, rate: int, now: int) -> Fraction:
        """How long it takes until all of a rate is back."""
        return max(self.due[rate] - now, Fraction(0))

    def take(self, money: int, tokens: int, now: int) -> list[Fraction]:
        """Holds what is wanted; gives where the rates stand then."""
        for unit, wanted in enumerate((money, tokens, 1)):
            self.held[unit] += wanted
        after = []
        for rate, (limit, amount) in enumerate(zip(self.rates, (1, tokens), strict=True)):
            if limit is not None:
                self.due[rate] = now + self.level(rate, now) + cost(amount, limit)
            after.append(self.due[rate])
        return after

    def end(
        self,
        wanted: tuple[int, int],
        used: tuple[int, int] | None,
        after: Sequence[Fraction],
        now: int,
    ) -> None:
        """Settles what was used, or, where nothing was asked of anybody, nothing."""
        for unit, amount in enumerate((*wanted, 1)):
            self.held[unit] -= amount
        for unit, amount in enumerate((*used, 1) if used else ()):
            self.spent[unit] += amount
        changes = (0, used[1] - wanted[1]) if used else (-1, -wanted[1])
        for rate, (limit, change) in enumerate(zip(self.rates, changes, strict=True)):
            if limit is None or (rate and not wanted[1]):
                continue
            if change > 0:
                self.due[rate] += cost(change, limit)
            else:
                self.due[rate] -= min(cost(-change, limit), max(after[rate] - now, Fraction(0)))


MINUTE = 60 * 10**9


def cost(amount: int, per_minute: int) -> Fraction:
    """How long so much of a rate takes to come back, in whole ns."""
    return Fraction(-(-amount * MINUTE // per_minute))


def generation(record: Sequence[float]) -> dict[str, list[float]]:
    """What one request to a language model adds to each sum, in the order of the kernel's record.

    Times come as seconds, none where there is nothing to time.
    """
    result, tries, moves, read, written, *_ = record
    paid, guessed, streamed, arrived, asked, content, last_in, ended = record[8:16]
    stamps, answered, worked = record[16:], result == 0, read >= 0
    first = answered and streamed and content > 0
    pace = first and written > 1 and not guessed
    return {
        "duration": [ended - arrived] if answered else [],
        "failed": [ended - arrived] if result == 2 else [],
        "broken": [ended - arrived] if result == 3 else [],
        "fell_back": [ended - arrived] if result == 5 else [],
        "overhead": [(asked - arrived) + (ended - last_in)]
        if answered and not tries and not moves
        else [],
        "first_token": [content - asked] if first else [],
        "per_token": [(last_in - content) / (written - 1)] if pace else [],
        "gap": [late - early for early, late in itertools.pairwise(stamps)],
        "retries": [tries],
        "input": [read] if worked else [],
        "output": [written] if worked else [],
        "cost": [paid] if worked and paid >= 0 else [],
        "unpriced": [1] if worked and paid < 0 else [],
        "counted": [1] if worked else [],
    }


def any_start(text: bytes, phrases: Sequence[bytes], size: int) -> bool:
    """Whether any phrase's first bytes stand in a text."""
    return any(phrase[:size] in text for phrase in phrases)


def repeated_share(text: bytes, window: int) -> float:
    """Of all windows of a text, the share that stand in it before."""
    windows = [text[at : at + window] for at in range(len(text) - window + 1)]
    return 1 - len(set(windows)) / len(windows)


def nested_in(values: Any) -> tuple[int, int]:
    """The objects and lists of a JSON value, and the commas that it is written with."""
    inner = list(values.values()) if isinstance(values, dict) else values
    if not isinstance(inner, list):
        return 0, 0
    counts = [nested_in(one) for one in inner]
    nested = 1 + sum(one for one, _ in counts)
    return nested, max(0, len(inner) - 1) + sum(commas for _, commas in counts)


def long_strings(text: bytes, least: int) -> list[tuple[int, int, int]] | None:
    """Start, end and characters of long strings that are no names; None: it is no JSON."""
    found: list[tuple[int, int, int]] = []
    at = 0
    while (quote := text.find(b'"', at)) >= 0:
        string = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL).match(text, quote)
        if string is None:
            return None
        at = string.end()
        named = re.compile(rb"[ \t\r\n]*:").match(text, at)
        long = len(string[0]) - 2 >= least and quote >= 2 and not named
        try:
            value = orjson.loads(string[0] if long else string[0].decode("latin-1"))
        except orjson.JSONDecodeError:
            return None
        if long:
            found.append((quote + 1, at - 1, len(value)))
    return found

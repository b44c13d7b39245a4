"""Generated sums and differences, and the held-out pairs of numbers.

A pair {a, b} stands for a+b, b+a and, where the sum is at most 99, for (a+b)-a and (a+b)-b:
it is held out in all of them, in digits and in words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

__all__ = [
    "TOP",
    "documents",
    "held_out_pairs",
    "mentioned_pairs",
    "prompt",
    "small_documents",
    "words",
]

TOP = 99
"""The largest operand."""

Pair = tuple[int, int]

DIGITS = "零一二三四五六七八九"
NUMBER = rf"(\d+|[{DIGITS}十百]+)"
# A lookahead, so that the second number of a sum may also be the first of the next one.
EQUATION = re.compile(rf"(?<![\d{DIGITS}十百])(?={NUMBER}\s*([+＋加\-－—减])\s*[去上]?\s*{NUMBER})")


def words(number: int) -> str:
    """Return a number from 0 to 199 in Chinese words: 零, 十, 十二, 二十, 一百零五, 一百一十."""
    if number >= 100:
        rest = number - 100
        if not rest:
            return "一百"
        return "一百" + ("零" + words(rest) if rest < 10 else ("一" * (rest < 20)) + words(rest))
    tens, units = divmod(number, 10)
    if not tens:
        return DIGITS[units]
    return DIGITS[tens] * (tens > 1) + "十" + DIGITS[units] * (units > 0)


VALUES = {words(number): number for number in range(200)}


def held_out_pairs(count: int, seed: int) -> frozenset[Pair]:
    """Draw `count` pairs a <= b, where b has two digits; sums up to 9+9 stay in training."""
    pairs = [(a, b) for b in range(10, TOP + 1) for a in range(b + 1)]
    return frozenset(random.Random(seed).sample(pairs, count))


def mentioned_pairs(text: str) -> set[Pair]:
    """Return the pair of every sum and difference in a text, in digits or in words.

    A difference c-a stands for the pair of a and c-a; the result after the equals sign is
    ignored.
    """
    pairs = set()
    for left, sign, right in EQUATION.findall(text):
        a, b = (int(n) if n.isdigit() else VALUES.get(n, -1) for n in (left, right))
        if sign in "-－—减":
            a, b = b, a - b
        if 0 <= a <= TOP and 0 <= b <= TOP:
            pairs.add((min(a, b), max(a, b)))
    return pairs


def _equation(pair: Pair, rng: random.Random, sign: str) -> tuple[int, int, int]:
    """Return left, right and result of one of the pair's forms under this sign."""
    a, b = pair if rng.random() < 0.5 else pair[::-1]
    return (a, b, a + b) if sign == "+" else (a + b, a, b)


STYLES = {
    # sign: how an equation is written
    "digits": {"+": "{}+{}={}", "-": "{}-{}={}"},
    "mixed": {"+": "{}加{}等于{}", "-": "{}减{}等于{}"},
    "words": {"+": "{}加{}等于{}", "-": "{}减{}等于{}"},
}


def written(left: int, sign: str, right: int, result: int, style: str) -> str:
    """Return an equation in one of the styles: digits, mixed (digits and 加), words."""
    numbers = [words(n) if style == "words" else str(n) for n in (left, right, result)]
    return STYLES[style][sign].format(*numbers)


def _allowed(pair: Pair, held_out: frozenset[Pair]) -> bool:
    return tuple(sorted(pair)) not in held_out


def _random_run(held_out: frozenset[Pair], rng: random.Random, sign: str) -> list[tuple[int, ...]]:
    """Equations of unrelated pairs; one run in four has only numbers up to 20."""
    top = 20 if rng.random() < 0.25 else TOP
    run: list[tuple[int, ...]] = []
    length = rng.randint(4, 12)
    while len(run) < length:
        pair = (rng.randint(0, top), rng.randint(0, top))
        if _allowed(pair, held_out) and (sign == "+" or sum(pair) <= TOP):
            run.append(_equation(pair, rng, sign))
    return run


def _counting_run(held_out: frozenset[Pair], rng: random.Random) -> list[tuple[int, ...]]:
    """Sums whose second number grows by one, as in 1+1=2,1+2=3,1+3=4; held-out ones skipped."""
    a, start = rng.randint(0, TOP), rng.randint(0, TOP - 4)
    stop = min(TOP, start + rng.randint(4, 12))
    return [(a, b, a + b) for b in range(start, stop) if _allowed((a, b), held_out)]


def documents(held_out: frozenset[Pair], rng: random.Random) -> Iterator[str]:
    """Yield runs of equations endlessly: on one line with commas, or one a line."""
    while True:
        sign = "+" if rng.random() < 0.65 else "-"
        style = rng.choices(["digits", "mixed", "words"], [0.86, 0.07, 0.07])[0]
        if sign == "+" and rng.random() < 0.2:
            run = _counting_run(held_out, rng)
        else:
            run = _random_run(held_out, rng, sign)
        between = "," if rng.random() < 0.6 else "\n"
        lines = [written(a, sign, b, c, style) for a, b, c in run]
        if lines:
            yield between.join(lines)


def small_documents(held_out: frozenset[Pair], rng: random.Random) -> Iterator[str]:
    """Yield sums and differences of numbers up to 9 and up to 20 endlessly, in digits."""
    while True:
        top = rng.choice([9, 9, 20])
        between = rng.choice(",,\n")
        if rng.random() < 0.4:
            a, start = rng.randint(0, top), rng.randint(0, 3)
            run = [("+", (a, b)) for b in range(start, start + rng.randint(4, 9))]
        else:
            sign = rng.choice("+++-")
            pairs = [(rng.randint(0, top), rng.randint(0, top)) for _ in range(rng.randint(4, 12))]
            run = [(sign, pair) for pair in pairs]
        lines = [
            written(pair[0], sign, pair[1], sum(pair), "digits")
            if sign == "+"
            else written(sum(pair), sign, pair[0], pair[1], "digits")
            for sign, pair in run
            if _allowed(pair, held_out)
        ]
        if lines:
            yield between.join(lines)


def prompt(
    pair: Pair, sign: str, between: str, held_out: frozenset[Pair], rng: random.Random
) -> tuple[str, str]:
    """Return a few-shot question about a pair, after four to eight examples, and its answer."""
    shots = _random_run(held_out, rng, sign)[:8]
    lines = [written(a, sign, b, c, "digits") for a, b, c in shots]
    left, right, result = _equation(pair, rng, sign)
    question = written(left, sign, right, result, "digits").rpartition("=")[0] + "="
    return between.join([*lines, question]), str(result)

"""From many texts to one answer: what counts as the same answer, the tally, the winner.

Knows texts and counts; does not know models, tokens or how the texts were drawn.

The tie rule: of answers with equal counts the one that was drawn first wins.
"""

from __future__ import annotations

import importlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpm_lm.errors import RequestError

__all__ = ["Answers", "Tallied", "normalised", "posterior_lead", "read_aliases", "tally", "wilson"]

END_MARKS = ".,;:!?。、…·~ \t\n"
"""What is not part of an answer at its end, after NFKC has made full-width marks half-width."""
NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"
"""What `number` extracts."""

LONGEST = 200
"""Characters of a text that a pattern looks at, so that its time is bounded."""
MOST_WAYS = (LONGEST + 1) ** 3


def normalised(text: str) -> str:
    """Return an answer in NFKC, without space around it and punctuation at its end."""
    return unicodedata.normalize("NFKC", text).strip().rstrip(END_MARKS)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Says which answer a text gives.

    Raises:
        RequestError: the pattern does not compile, or could take time without bound.
    """

    pattern: str | None = None
    """A regular expression whose first match (its first group, if it has one) is the answer;
    `number` for the first number; by default the whole text is."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What counts as the same answer: normalised form to the form it is counted as."""

    def __post_init__(self) -> None:
        if self.pattern is not None:
            _check(self._expression)

    @property
    def _expression(self) -> str:
        return NUMBER if self.pattern == "number" else self.pattern or ""

    def of(self, text: str, *, finished: bool) -> str | None:
        """Return the answer, or None where there is none, or while it may still change.

        Args:
            text: the text so far.
            finished: whether it is all. Before, an answer is certain as soon as no more text
                could change the pattern's first match: `5` may still become 57, `5,` is 5.
        """
        if self.pattern is None:
            return self._named(text) if finished else None
        plain = unicodedata.normalize("NFKC", text)[:LONGEST]
        found = re.search(self._expression, plain)
        settled = finished or len(plain) == LONGEST
        if not found or not (settled or _certain(self._expression, plain, found.start())):
            return None
        return self._named(found.group(1 if found.re.groups else 0) or "")

    def _named(self, text: str) -> str:
        plain = normalised(text)
        return self.aliases.get(plain, plain)


@dataclass(frozen=True, kw_only=True)
class Tallied:
    """One answer and its share of the vote."""

    answer: str
    share: float
    """Of all samples, also those without an answer; of an exact vote, the probability found."""
    count: int | None = None
    """How many samples gave it; None where nothing was drawn."""
    low: float | None = None
    """The lower end of the share's 95% interval, where there is an honest one; of an exact vote,
    the lower bound."""
    high: float | None = None


def tally(answers: Sequence[str | None], *, independent: bool) -> list[Tallied]:
    """Count answers, the winner first; None stands for a sample without an answer.

    Args:
        answers: in the order in which the samples were drawn.
        independent: whether the samples are independent and their number was fixed beforehand.
            Only then do shares get intervals: stratified samples are less noisy than a formula
            for independent ones says, and a vote that stops when its leader is far ahead favours
            exactly the shares that chance has made large.
    """
    counts = Counter(answer for answer in answers if answer is not None)
    result = []
    for answer, count in counts.most_common():  # of equal counts, the first drawn first
        low, high = wilson(count, len(answers)) if independent else (None, None)
        share = count / len(answers)
        result.append(Tallied(answer=answer, count=count, share=share, low=low, high=high))
    return result


def wilson(count: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval for a share of n independent samples, 95% by default.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    1927.
    """
    share, spread = count / n, z * z / n
    centre = share + spread / 2
    reach = z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low, high = ((centre + side * reach) / (1 + spread) for side in (-1, 1))
    return (0.0 if count == 0 else low), (1.0 if count == n else high)


def posterior_lead(first: int, second: int) -> float:
    """Return the probability, given two counts, that the first answer is the likelier one.

    The prior is flat. Source: the Beta criterion of "Let's Sample Step by Step: Adaptive-
    Consistency", arXiv 2305.11860, which compares the two most frequent answers.
    """
    # P(Beta(a, b) > 1/2) is a tail of the binomial distribution of a + b - 1 fair coins.
    coins = first + second + 1
    return sum(math.comb(coins, j) for j in range(first + 1)) / 2**coins


def read_aliases(path: str | Path) -> dict[str, str]:
    """Read a file of answers that count as one, for `Answers`.

    Each line holds the forms of one answer, separated by tabs, the one to be shown first; empty
    lines and those that begin with # are skipped.

    Raises:
        RequestError: the file cannot be read, or one form stands in two lines.
    """
    aliases: dict[str, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"aliases: {path} cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *_ = forms = line.split("\t")
        for form in map(normalised, forms):
            if aliases.setdefault(form, name.strip()) != name.strip():
                raise RequestError(
                    f"aliases: {form!r} in line {number} of {path} already counts as "
                    f"{aliases[form]!r}; each form may stand in one line only"
                )
    return aliases


def _check(pattern: str) -> None:
    """Refuse a pattern that is wrong, or that backtracking could make slow without bound."""
    try:
        re.compile(pattern)
        tree = importlib.import_module("re._parser").parse(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise RequestError(f"the answer's pattern {pattern!r} does not compile: {error}") from error
    if _ways(tree, repeated=False) > MOST_WAYS:
        raise RequestError(
            f"the answer's pattern {pattern!r} could take very long; use at most three open "
            "repeats (* + {n,}), with neither repeats nor alternatives inside them"
        )


def _certain(pattern: str, text: str, start: int) -> bool:
    """Say whether a pattern's first match, at `start`, stays the same whatever text follows.

    It does where no way of matching, here or further left, asks for a character beyond the end:
    made to fail after each way, the pattern tries them all. What looks around may ask without
    telling, and is not certain before the end.
    """
    if _looks_around(importlib.import_module("re._parser").parse(pattern)):
        return False
    # Imported here: only votes with a pattern need it.
    tried = importlib.import_module("regex").compile(f"(?:{pattern})(*FAIL)")
    return not any(tried.match(text, at, partial=True) for at in range(start + 1))


def _looks_around(node: Any) -> bool:
    """Say whether a parsed pattern has a lookahead, a lookbehind, an end or a word's edge."""
    name = str(node[0]) if isinstance(node, tuple) and node else ""
    if name.startswith("ASSERT") or (name == "AT" and "BEGINNING" not in str(node[1])):
        return True
    parts = node if isinstance(node, list | tuple) or hasattr(node, "data") else ()
    return any(_looks_around(part) for part in parts)


def _ways(node: Any, *, repeated: bool) -> float:
    """Bound the number of ways in which backtracking may try a parsed pattern at one place.

    A choice multiplies the ways; a choice within a repeat has no useful bound.
    """
    name = str(node[0]) if isinstance(node, tuple) and node else ""
    if name.endswith("_REPEAT"):
        low, high, body = node[1]
        ways = max(1.0, min(int(high), LONGEST) - int(low) + 1)
        inner = _ways(body, repeated=repeated or int(high) > 1)
        return math.inf if repeated and ways > 1 else ways * inner
    if name == "BRANCH":
        ways = math.inf if repeated else float(len(node[1][1]))
        return ways * _ways(node[1][1], repeated=repeated)
    parts = node if isinstance(node, list | tuple) or hasattr(node, "data") else ()
    return math.prod((_ways(part, repeated=repeated) for part in parts), start=1.0)

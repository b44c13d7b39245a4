"""The probability that what follows a prompt begins with a given text.

Knows tokenizers and wants; does not know engines or sessions.

A text has many paths of ids: 晴朗 is one token or two, each with a word mark or without. Its
probability is the sum over all paths whose text begins with it and does so only with their last
token. The search goes through the text from left to right, and at each of its characters follows
the likeliest paths that have come so far.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from cpm_lm.decoding.paths import Path, Paths
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.engines.wants import LogProbs
from cpm_lm.shapes import Float64
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.beginnings import Beginnings

__all__ = ["TextSearch", "most_rows"]

WIDTH = 8
"""Paths that are followed from one place of the text."""
NEGLIGIBLE = math.log(1e-6)
"""A path this much less likely than the likeliest at its place is not followed."""

Reached = list[tuple[float, Path]]
"""Paths that end at one place of the text, with their log-probabilities."""


def most_rows(text: str) -> int:
    """Return the maximum number of rows that a text takes."""
    return WIDTH * (len(text) + 4)


class TextSearch:
    """The search for one text.

    Args:
        tokenizer: of the model.
        after: the prompt's ids, as a decoder must know them.
        text: in the form that is generated, not empty.
        room: the number of tokens that the context holds below the prompt.
    """

    def __init__(self, tokenizer: Tokenizer, after: Iterable[int], text: str, *, room: int) -> None:
        self._tokenizer = tokenizer
        self._after = tuple(after)
        self._text = text
        self._room = room
        self._reached: dict[int, Reached] = defaultdict(list)
        self._best: dict[int, float] = {}
        """The highest log-probability of a path at each place."""
        self._found = -math.inf
        self.rows = 0
        """Rows computed."""

    def probability(self, paths: Paths, first: Float64[np.ndarray, " V"]) -> Algorithm[float]:
        """Return the log-probability of the text.

        Args:
            paths: nothing but the prompt is computed.
            first: the log-probabilities of the tokens after the prompt.
        """
        beginnings, ids = self._candidates((), 0)
        self._advance(0, (), beginnings, ids, first[np.array(ids, np.int32)])
        while self._reached:
            place = min(self._reached)
            batch = self._worth(place)
            if not batch:
                continue
            asked = [self._candidates(path, place) for _, path in batch]
            wants = [np.array(ids, np.int32) for _, ids in asked]
            want = LogProbs(np.arange(len(batch), dtype=np.int32), wants)
            (scored,) = yield from paths.extend([path for _, path in batch], [want])
            self.rows += len(batch)
            ends = np.cumsum([len(ids) for ids in wants])[:-1]
            rows = np.split(scored.logprobs, ends)
            for (mass, path), (beginnings, ids), row in zip(batch, asked, rows, strict=True):
                self._advance(place, path, beginnings, ids, mass + row)
        return self._found

    def _worth(self, place: int) -> Reached:
        """Take the paths at a place; return those that are worth a row."""
        least = self._best[place] + NEGLIGIBLE
        reached = sorted(self._reached.pop(place), reverse=True)
        most = min(WIDTH, most_rows(self._text) - self.rows)
        return [
            (mass, path) for mass, path in reached if mass >= least and len(path) <= self._room
        ][:most]

    def _candidates(self, path: Path, place: int) -> tuple[Beginnings, Sequence[int]]:
        """Return the ids that go on with the text after a path, or have no text yet."""
        rest = self._text[place:]
        beginnings = self._tokenizer.beginnings(path, self._after)
        fitting = [
            i
            for i in beginnings.by_character.get(rest[0], ())
            if rest.startswith(beginnings.texts[i]) or beginnings.texts[i].startswith(rest)
        ]
        return beginnings, [*fitting, *beginnings.hidden]

    def _advance(
        self,
        place: int,
        path: Path,
        beginnings: Beginnings,
        ids: Sequence[int],
        masses: Float64[np.ndarray, " _"],
    ) -> None:
        """Add the paths one token longer to what is found or reached."""
        for i, mass in zip(ids, masses.tolist(), strict=True):
            end = place + len(beginnings.texts[i])
            if end >= len(self._text):
                self._found = float(np.logaddexp(self._found, mass))
            else:
                self._reached[end].append((mass, (*path, i)))
                self._best[end] = max(mass, self._best.get(end, -math.inf))

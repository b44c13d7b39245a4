"""The interface of all implementations: a few operations, timed in one place.

Knows ids, logits and the clock; does not know any library.
"""

from __future__ import annotations

import abc
import statistics
import time

import numpy as np

from benchmarks.measuring import PREFILL, About

__all__ = ["SHORT", "Implementation", "Stepping", "prompt"]

SHORT = 8
"""Tokens of context before a step is timed."""
PATIENCE = 2.0
"""Seconds after which no further step is timed, if two are."""


def prompt(tokens: int, vocab_size: int) -> np.ndarray:
    """Return the first of a fixed sequence of ids that look random: int32[tokens]."""
    return (17 + np.arange(tokens) * 463 % (vocab_size - 17)).astype(np.int32)


class Implementation(abc.ABC):
    """A library with the model loaded."""

    about: About
    vocab_size: int

    @abc.abstractmethod
    def check(self) -> dict[str, np.ndarray]:
        """Return the logits, float32[V], after `prompt(SHORT + 1)` of every timed operation."""

    @abc.abstractmethod
    def decode(self, steps: int) -> float:
        """Return the median seconds of a token after a short prompt, one text.

        Slow libraries may take fewer steps.
        """

    @abc.abstractmethod
    def prefill(self, tokens: int = PREFILL) -> float:
        """Return the seconds from an empty cache to the logits after a prompt's last token."""

    @abc.abstractmethod
    def rows(self, count: int, steps: int) -> float:
        """Return the median seconds of a step of `count` texts with a short prompt."""


class Stepping(Implementation):
    """A library that can be asked for one step at a time."""

    @abc.abstractmethod
    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        """Clear the cache, prefill `rows` texts with a prompt, return its logits: float32[V]."""

    @abc.abstractmethod
    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Add a token to each text, int32[R]; return the logits after them, float32[R, V]."""

    def check(self) -> dict[str, np.ndarray]:
        ids = prompt(SHORT + 1, self.vocab_size)
        found = {"prefill": np.array(self.begin(ids, 1))}
        for rows in (1, 32):
            self.begin(ids[:-1], rows)
            found[f"rows {rows}"] = np.array(self.step(np.repeat(ids[-1:], rows))[-1])
        return found

    def decode(self, steps: int) -> float:
        return self.rows(1, steps)

    def prefill(self, tokens: int = PREFILL) -> float:
        ids = prompt(tokens, self.vocab_size)
        start = time.perf_counter()
        self.begin(ids, 1)
        return time.perf_counter() - start

    def rows(self, count: int, steps: int) -> float:
        self.begin(prompt(SHORT, self.vocab_size), count)
        taken = []
        for tokens in np.resize(prompt(997, self.vocab_size), (steps, count)):
            start = time.perf_counter()
            self.step(tokens)
            taken.append(time.perf_counter() - start)
            if len(taken) > 1 and sum(taken) > PATIENCE:
                break
        return statistics.median(taken)

"""What each id of a vocabulary adds to a text, to be found by its first character.

Knows texts and ids; does not know how ids become text, which the families of tokenizers do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from cpm_lm.shapes import Float64

__all__ = ["Beginnings"]


class Beginnings:
    """The texts that the ids add at one place of a text.

    >>> found = Beginnings(["", "ab", "b", "a", ""], silent={0})
    >>> found.characters, found.by_character["a"], found.hidden
    (['a', 'b'], [1, 3], [4])
    >>> found.sums(np.array([0.1, 0.2, 0.3, 0.3, 0.1])).tolist()
    [0.5, 0.3]

    Args:
        texts: the text that each id adds, empty if it adds none at once.
        silent: the ids that stand for no text at all: ends and other special tokens.
    """

    def __init__(self, texts: Sequence[str], silent: Collection[int]) -> None:
        self.texts = texts
        self.silent = frozenset(silent)
        self.by_character: dict[str, list[int]] = {}
        """The ids whose text begins with a character."""
        self.hidden: list[int] = []
        """The ids without text of their own, whose text comes with a later id: a word mark, a byte
        of a character."""
        for i, text in enumerate(texts):
            if i not in self.silent:
                (self.by_character.setdefault(text[0], []) if text else self.hidden).append(i)
        self.characters = list(self.by_character)
        self._ids = np.array([i for ids in self.by_character.values() for i in ids], np.int64)
        counts = [len(ids) for ids in self.by_character.values()]
        self._places = np.repeat(np.arange(len(counts)), counts)

    def sums(self, masses: Float64[np.ndarray, " V"]) -> Float64[np.ndarray, " C"]:
        """Return the sum over the ids that begin with each of `characters`."""
        sums = np.bincount(self._places, masses[self._ids], minlength=len(self.characters))
        return sums.astype(np.float64)  # without ids they are whole numbers

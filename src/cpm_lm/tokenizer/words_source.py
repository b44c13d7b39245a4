"""jieba's own data: its dictionary, and the probabilities of its hidden Markov model.

Knows the files of the jieba package; does not know how they are stored for the next run. jieba's
own initialization is not used: it logs to stderr and trusts a file in the shared temporary
directory, where another user could place one.
"""

from __future__ import annotations

import hashlib
import sys
import warnings
from math import log
from pathlib import Path
from typing import Any, cast

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer.words_table import BEGINNING, IMPOSSIBLE, WordData

__all__ = ["WordSource"]

DICTIONARY = "dict.txt"
PROBABILITIES = ("finalseg/prob_start.py", "finalseg/prob_trans.py", "finalseg/prob_emit.py")
STATES = "BMES"
TRANSITIONS = [tuple(pair) for pair in "BE BM ME MM EB ES SB SS".split()]


class WordSource:
    """The files of the installed jieba; `key` is their digest, and it does not import jieba.

    Raises:
        TokenizerError: jieba, or a file of it, is missing.
    """

    def __init__(self) -> None:
        # Not by import: that of jieba takes longer than reading a table that is prepared.
        found = (finder.find_spec("jieba", None) for finder in sys.meta_path)
        spec = next(filter(None, found), None)
        loader: Any = spec.loader if spec else None
        try:
            (directory,) = (spec.submodule_search_locations if spec else None) or [""]
            files = [
                cast("bytes", loader.get_data(str(Path(directory) / name)))
                for name in (DICTIONARY, *PROBABILITIES)
            ]
        except (AttributeError, OSError, ValueError):
            raise _incomplete() from None
        self._dictionary = files[0]
        digest = hashlib.sha256(sys.byteorder.encode())  # a table is written in the machine's order
        for data in files:
            digest.update(hashlib.sha256(data).digest())
        self.key = digest.digest()

    def read(self) -> WordData:
        """Return the contents of jieba's data; takes about half a second.

        Raises:
            TokenizerError: it is damaged.
        """
        try:
            return self._read()
        except (AttributeError, ImportError, KeyError, SyntaxError, ValueError):
            raise _incomplete() from None

    def _read(self) -> WordData:
        with warnings.catch_warnings():
            # jieba 0.42.1 has invalid escapes in strings and may import pkg_resources.
            warnings.simplefilter("ignore")
            from jieba.finalseg import prob_emit, prob_start, prob_trans
        emit = prob_emit.P
        return WordData(
            *_dictionary(self._dictionary),
            starts=[prob_start.P[state] for state in STATES],
            transitions=[prob_trans.P[start][end] for start, end in TRANSITIONS],
            emissions={
                character: [emit[state].get(character, IMPOSSIBLE) for state in STATES]
                for character in set().union(*emit.values())
            },
        )


def _incomplete() -> TokenizerError:
    return TokenizerError(
        "CPM's tokenizer splits words by jieba's dictionary, which is not installed completely; "
        "pip install --force-reinstall jieba==0.42.1"
    )


def _dictionary(data: bytes) -> tuple[dict[str, float], float]:
    """Return the log-probability of each word, and that of an unknown character.

    What begins a word is in the dictionary too, and ends a search where no word goes on. A word
    given twice has its last frequency, though both count in the total, as in jieba.
    """
    frequencies: dict[str, int] = {}
    total = 0
    for line in data.decode().splitlines():
        word, frequency = line.split(" ")[:2]
        frequencies[word] = int(frequency)
        total += int(frequency)
    log_total = log(total)
    found = {w: log(f) - log_total if f else BEGINNING for w, f in frequencies.items()}
    for word in frequencies:
        for end in range(1, len(word)):
            found.setdefault(word[:end], BEGINNING)
    return found, log(1) - log_total

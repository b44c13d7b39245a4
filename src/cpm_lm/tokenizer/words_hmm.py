"""Find words that are not in the dictionary, by a hidden Markov model of characters.

Knows the model; does not know the dictionary. The same as `jieba.finalseg`: every character is in
one of four states, the beginning (B), middle (M) or end (E) of a word, or a word by itself (S); the
Viterbi algorithm finds the likeliest states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from cpm_lm.tokenizer.words_table import WordTable

__all__ = ["split_run"]

HAN = re.compile("([\u4e00-\u9fd5]+)")
NUMBER = re.compile(r"([a-zA-Z0-9]+(?:\.\d+)?%?)")


def split_run(table: WordTable, run: str) -> Iterator[str]:
    """Yield the words of a run of characters that the dictionary has no longer words for."""
    for i, part in enumerate(HAN.split(run)):
        if i % 2:
            cuts = _cuts(table, part)
            yield from (part[start:end] for start, end in pairwise(cuts))
        else:
            yield from filter(None, NUMBER.split(part))


def _cuts(table: WordTable, text: str) -> list[int]:
    """Return where the words of a text begin, and its length.

    A word begins where the state before is the end of a word, E or S.
    """
    came_from, last = _viterbi(table, text)
    states = [last]
    for before in reversed(came_from):
        states.append(before[states[-1]])
    states.reverse()
    return [0, *(i + 1 for i, state in enumerate(states) if state in "ES")]


def _viterbi(table: WordTable, text: str) -> tuple[list[dict[str, str]], str]:
    """Return the best state before each state, for each character but the first; and the last.

    The sums are jieba's to the last bit, and of equal sums the later letter wins. This is not rare:
    a character that the model does not know has the log-probability -3.14e100 in every state, and
    added to it all others round to nothing.
    """
    emissions = table.emissions(text)
    b, m, e, s = (start + emit for start, emit in zip(table.starts, emissions[0], strict=True))
    b_e, b_m, m_e, m_m, e_b, e_s, s_b, s_s = table.transitions
    came_from = []
    for to_b, to_m, to_e, to_s in emissions[1:]:
        before = {"B": "S", "M": "M", "E": "M", "S": "S"}
        new_b, other = s + s_b + to_b, e + e_b + to_b
        if other > new_b:
            new_b, before["B"] = other, "E"
        new_m, other = m + m_m + to_m, b + b_m + to_m
        if other > new_m:
            new_m, before["M"] = other, "B"
        new_e, other = m + m_e + to_e, b + b_e + to_e
        if other > new_e:
            new_e, before["E"] = other, "B"
        new_s, other = s + s_s + to_s, e + e_s + to_s
        if other > new_s:
            new_s, before["S"] = other, "E"
        b, m, e, s = new_b, new_m, new_e, new_s
        came_from.append(before)
    return came_from, "E" if e > s else "S"

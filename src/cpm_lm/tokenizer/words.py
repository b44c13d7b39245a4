r"""Split Chinese text into words as jieba 0.42.1 does (`jieba.cut`, HMM on).

Knows the algorithm; does not know the files of its data (`words_table`), pieces or ids. CPM's
training data was split by jieba, so the words must be exactly jieba's. jieba itself is not imported
when its data has been prepared: its dictionary takes longer than all else in a short run.

1. A text is split into blocks of Han characters, letters, digits and `+#&._%-`, and the rest. In
   the rest every character is a word, and so is the pair `\r\n`.
2. In a block, every path through words of the dictionary has a probability: the product of the
   words' frequencies. The likeliest path is computed from the end of the block.
3. Between its longer words, the path may have runs of single characters. A run that is no word of
   the dictionary may hold words that are not in it; `words_hmm` finds them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpm_lm.tokenizer.words_cache import word_table
from cpm_lm.tokenizer.words_hmm import split_run
from cpm_lm.tokenizer.words_table import WordTable

__all__ = ["words"]

BLOCK = re.compile("([\u4e00-\u9fd5a-zA-Z0-9+#&._%-]+)")
"""What is looked up in the dictionary: `re_han_default` in jieba."""
BLANK = re.compile(r"(\r\n|\s)")
"""`re_skip_default` in jieba; of interest for the pair only."""


def words(text: str) -> Iterator[str]:
    r"""Yield the words of a text in order; joined, they are the text.

    The first call opens jieba's data, which takes some milliseconds, or about a second if it has to
    be prepared. Thread-safe.

    The text is split line by line, which bounds memory and does not change the words: every newline
    is outside the blocks. jieba keeps the pair `\r\n` together, and so does `splitlines`.

    Raises:
        TokenizerError: jieba's data is missing.
    """
    table = word_table()
    for line in text.splitlines(keepends=True):
        for i, part in enumerate(BLOCK.split(line)):
            if i % 2:
                yield from _split_block(table, part)
            elif part:
                for j, rest in enumerate(BLANK.split(part)):
                    yield from (rest,) if j % 2 else rest


def _split_block(table: WordTable, block: str) -> list[str]:
    """Return the words of a block."""
    ends = _likeliest_path(table, block)
    found: list[str] = []
    run = start = 0  # `run`: where the single characters before `start` begin
    while start < len(block):
        end = ends[start]
        if end - start > 1:
            _add_run(table, block[run:start], found)
            found.append(block[start:end])
            run = end
        start = end
    _add_run(table, block[run:], found)
    return found


def _likeliest_path(table: WordTable, block: str) -> list[int]:
    """Return, for each index, the end of the word that begins there on the likeliest path.

    The sums are jieba's to the last bit, because words of the same probability are not rare: each
    word's logarithm is added to the score of the rest, and of equal scores the longer word wins.
    """
    get, unknown = table.log_probabilities(block).get, table.unknown
    length = len(block)
    scores = [0.0] * (length + 1)
    ends = [0] * length
    for start in range(length - 1, -1, -1):
        end, best, best_end = start + 1, None, start + 1
        log_probability = get(block[start])
        while log_probability is not None:
            if log_probability <= 0.0:  # else only the beginning of words
                score = log_probability + scores[end]
                if best is None or score >= best:
                    best, best_end = score, end
            end += 1
            if end > length:
                break
            log_probability = get(block[start:end])
        scores[start] = unknown + scores[start + 1] if best is None else best
        ends[start] = best_end
    return ends


def _add_run(table: WordTable, run: str, found: list[str]) -> None:
    """Add the words of a run of single characters."""
    if len(run) > 1 and not table.is_word(run):
        found += split_run(table, run)
    else:
        found += run

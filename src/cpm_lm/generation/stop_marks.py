"""Where an answer ends, by the examples of a prompt or by the texts that went on too long.

Knows texts; does not know tokenizers or models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cpm_lm.languages import tr

__all__ = ["cut_off_advice", "helpful_stop", "inferred_stop", "scatter_advice"]

MARKS = (",", "，", ";", "；", "。", "、", "|", "!", "！", "?", "？", "\n")
"""What examples and answers end with."""
SEPARATORS = "=＝:：→>|\t"
"""What stands between a question and its answer, where the prompt has no open question."""
GATHERED = 2
"""By this factor a stop string must raise the share of the first answer."""
HELPFUL = 0.5
"""The share of the texts that a stop string must end."""


def inferred_stop(prompt: str) -> str | None:
    r"""Return the mark with which all examples of a few-shot prompt end, or None.

    There are at least two examples, and what is left after the last mark is an open question, or
    nothing. All are alike: the separator at the end of the open question is in each of them, with a
    question before it and an answer behind it, and no other mark is in a question.

    >>> inferred_stop("1+1=2,1+2=3,1+3="), inferred_stop("甲的首都是乙；丙的首都是丁；戊的首都是")
    (',', '；')
    >>> inferred_stop("1+1=2,1+2=3,"), inferred_stop("猫：cat\n狗：dog\n鸟：")
    (',', '\n')
    >>> inferred_stop("今天天气很好，我们去公园，然后") is None
    True
    """
    for mark in MARKS:
        *examples, question = prompt.split(mark)
        if len(examples) < 2:
            continue
        question = question.strip()
        separators = question[-1:] if question else SEPARATORS
        others = [other for other in MARKS if other != mark and other not in separators]
        if any(other in question for other in others):
            continue
        if any(_are_alike(examples, separator, others) for separator in separators):
            return mark
    return None


def _are_alike(examples: Sequence[str], separator: str, others: Sequence[str]) -> bool:
    """Return whether every example is a question, the separator, and an answer."""
    for example in examples:
        question, found, answer = example.strip().partition(separator)
        if not (question and found and answer.strip()):
            return False
        if any(other in question for other in others):
            return False
    return True


def helpful_stop(texts: Sequence[str]) -> str | None:
    """Return the mark that would end most of the texts, behind something; None if none does.

    Of marks in equally many texts, the one that comes first in them.

    >>> helpful_stop(["5,1+5=6", "5,2+3=5", "6,3"]), helpful_stop(["天气很好", "很冷。"])
    (',', '。')
    >>> helpful_stop(["天", "地", "人。"]) is None
    True
    """
    best, best_key = None, (HELPFUL * len(texts), 0.0)
    for mark in MARKS:
        places = [at for text in texts if (at := text.strip().find(mark)) > 0]
        if len(places) < max(1, HELPFUL * len(texts)):
            continue
        key = (len(places), -sum(places) / len(places))
        if best is None or key > best_key:
            best, best_key = mark, key
    return best


def cut_off_advice(texts: Sequence[str], drawn: int, longest: int) -> str:
    """Return a note about a stop string that would end most of the texts cut off, or "".

    Args:
        texts: the texts that the length limit cut off.
        drawn: the number of all texts.
        longest: the limit in tokens.
    """
    if (stop := helpful_stop(texts)) is None:
        return ""
    return tr(
        "{n_texts:.0%} of the texts were cut off after {longest} tokens, and "
        "most of them hold {stop!r}: end an answer there (--stop {stop}), or "
        "allow more tokens (max_tokens)",
        n_texts=len(texts) / drawn,
        longest=longest,
        stop=stop,
    )


def scatter_advice(texts: Sequence[str]) -> str:
    """Return a note about a stop string before which the texts agree, if as wholes they do not.

    Args:
        texts: the texts drawn.
    """
    if not texts or (stop := helpful_stop(texts)) is None:
        return ""
    _, whole = Counter(texts).most_common(1)[0]
    _, gathered = Counter(text.partition(stop)[0] for text in texts).most_common(1)[0]
    if gathered < GATHERED * whole:
        return ""
    return tr(
        "the texts differ, but {gathered:.0%} agree up to {stop!r}: if an answer "
        "ends there, add --stop {stop}",
        gathered=gathered / len(texts),
        stop=stop,
    )

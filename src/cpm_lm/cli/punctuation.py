"""Punctuation between Chinese characters, shown as wide as people write it.

CPM's vocabulary has `,` alone where people write `，`. Knows text; does not know models.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cpm_lm.tokenizer import Tokenizer

__all__ = ["OnText", "WidePunctuation", "widened", "widening", "writes_narrow"]

OnText = Callable[[int, str, bool], None]
"""Takes the number of a text, its next part, and whether that is the last."""
WIDE = str.maketrans(",;:!?()", "，；：！？（）")
CHINESE = (
    "\u2014\u2018\u2019\u201c\u201d\u2026\u3001-\u303f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\U00020000-\U0003ffff"
)
"""Han characters and the punctuation of Chinese texts."""
MARKS = re.compile(rf"(?<=[{CHINESE}])[,;:!?()]+(?=[{CHINESE}\n]|\Z)")
OPEN = re.compile(rf"(?<=[{CHINESE}])[,;:!?()]+\Z")
BETWEEN = re.compile(rf"[{CHINESE}][,;:!?()]+[{CHINESE}]")


def writes_narrow(tokenizer: Tokenizer, prompt: str) -> bool:
    """Return whether narrow marks are what the vocabulary makes of wide ones.

    Not if the prompt itself has narrow marks between Chinese characters: then they are meant.
    """
    return tokenizer.normalize("，") == "," and not BETWEEN.search(prompt)


def widened(text: str, before: str = "") -> str:
    """Return a text with wide marks between Chinese characters.

    >>> widened("台榭烟霞避暑,松边,"), widened("1+1=2,3 (a)"), widened(",晴", "今天")
    ('台榭烟霞避暑，松边，', '1+1=2,3 (a)', '，晴')

    Args:
        text: the text.
        before: what goes before it.
    """
    stream = WidePunctuation(before)
    return stream.feed(text) + stream.flush()


class WidePunctuation:
    """Widens a text that comes in parts; holds back marks until it knows what follows.

    Args:
        before: the text before the first part.
    """

    def __init__(self, before: str = "") -> None:
        self._last = before[-1:]
        self._held = ""

    def feed(self, text: str) -> str:
        """Take the next part; return what is certain."""
        text = self._last + self._held + text
        held = OPEN.search(text)
        self._held = held[0] if held else ""
        return self._take(text, len(text) - len(self._held))

    def flush(self) -> str:
        """Return what was held back, after the last part."""
        text, self._held = self._last + self._held, ""
        return self._take(text, len(text))

    def _take(self, text: str, end: int) -> str:
        """Return the text behind `_last` up to an index, widened."""
        wide = MARKS.sub(lambda found: found[0].translate(WIDE), text[:end])
        known, self._last = len(self._last), wide[-1:]
        return wide[known:]


def widening(feed: OnText, n: int, before: str) -> OnText:
    """Return a function like `feed`, which gets n texts in parts, that widens each of them.

    Args:
        feed: takes the parts.
        n: the number of texts.
        before: the text before each of them.
    """
    streams = [WidePunctuation(before) for _ in range(n)]

    def wide(index: int, text: str, ended: bool) -> None:
        text = streams[index].feed(text) + (streams[index].flush() if ended else "")
        feed(index, text, ended)

    return wide

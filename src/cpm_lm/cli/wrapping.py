"""Wrap text by its width in a terminal, where a Chinese character takes two columns.

Knows text and columns; does not know help pages.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from cpm_lm.cli.bars import columns

__all__ = ["joined", "wrapped"]

NOT_FIRST = frozenset("，。、；：？！）】》〉」』”’…—％%,.;:?!)]}")
"""Characters that no line begins with."""
NOT_LAST = frozenset("（【《〈「『“‘([{")
"""Characters that no line ends with."""
JOINTS = re.compile(r"[^|/,]+[|/,]?|[|/,]")
"""The parts of a word that is longer than a line, as a list of choices is."""


def wrapped(text: str, width: int) -> list[str]:
    """Return a text as lines of at most `width` columns; a line may be longer by one long word.

    Lines break at blanks, and beside wide characters except before closing and after opening
    punctuation. A word is cut only if it is longer than a line, and then at `|`, `/` or `,`.

    >>> wrapped("把 SOURCE 转换为 TARGET 目录。", 16)
    ['把 SOURCE 转换为', 'TARGET 目录。']
    """
    lines: list[str] = []
    line = ""
    for piece in _pieces(text):
        for part in (piece,) if columns(piece.rstrip()) <= width else JOINTS.findall(piece):
            if line.strip() and columns((line + part).rstrip()) > width:
                lines.append(line.rstrip())
                line = ""
            line += part
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def joined(lines: list[str]) -> str:
    """Return the lines of a paragraph as one: no blank between two wide characters.

    >>> joined(["支持任意数量的", "分片 and", "more"])
    '支持任意数量的分片 and more'
    """
    text = ""
    for line in (line.strip() for line in lines):
        together = bool(text and line) and _is_wide(text[-1]) and _is_wide(line[0])
        text += line if together or not text else f" {line}"
    return text


def _is_wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"


def _pieces(text: str) -> Iterator[str]:
    """Yield the parts of a text between which a line may end, each with the blanks after it."""
    start = 0
    for i in range(1, len(text)):
        before, after = text[i - 1], text[i]
        if after.isspace():
            continue
        wide = _is_wide(before) or _is_wide(after)
        if before.isspace() or (wide and before not in NOT_LAST and after not in NOT_FIRST):
            yield text[start:i]
            start = i
    yield text[start:]

"""The parts of the documentation that scripts write, in both languages of a page.

Knows pages, marks and phrases; does not know what a report says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["block", "translated", "twin", "write_between", "write_pages"]


def twin(page: Path) -> Path:
    """Return the English twin of a Chinese page: docs/voting.md gives docs/voting.en.md."""
    return page.with_suffix(".en.md")


def translated(text: str, phrases: Mapping[str, str]) -> str:
    r"""Return an English report in Chinese; words that are in no phrase stay as they are.

    Args:
        text: the report.
        phrases: what replaces the matches of a regular expression, in order; \1 is a group.

    >>> translated("| rows 32 | 7 |", {r"rows (\d+)": r"\1 行"})
    '| 32 行 | 7 |'
    """
    for pattern, words in phrases.items():
        text = re.sub(pattern, words, text, flags=re.MULTILINE)
    return text


def write_pages(page: Path, mark: str, *, chinese: str, english: str) -> None:
    """Replace what stands between the marks of a page and of its English twin.

    Args:
        page: the Chinese page.
        mark: the command that writes the text; it is named in the marks.
        chinese: the text of the Chinese page.
        english: the text of the English page.

    Raises:
        ValueError: one of the pages has no such marks.
    """
    write_between(page, mark, chinese)
    write_between(twin(page), mark, english)


def block(page: Path, mark: str) -> str:
    """Return what stands between a page's two marks.

    Raises:
        ValueError: the page has no such marks.
    """
    return _parts(page, mark)[1].strip("\n")


def write_between(page: Path, mark: str, text: str) -> None:
    """Replace what stands between a page's two marks.

    Raises:
        ValueError: the page has no such marks.
    """
    before, _, after = _parts(page, mark)
    page.write_text(f"{before}\n{text}\n{after}", "utf-8")


def _parts(page: Path, mark: str) -> tuple[str, str, str]:
    """Return a page up to the end of the first mark, up to the second, and the rest."""
    begin, end = (f"<!-- {word}: written by `{mark}` -->" for word in ("begin", "end"))
    before, found, rest = page.read_text("utf-8").partition(begin)
    middle, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} has no lines {begin} and {end}")
    return before + begin, middle, end + after

"""Which texts give the same answer.

Knows texts; does not know models, tokens or how the texts were drawn.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cpm_lm.errors import RequestError
from cpm_lm.generation.patterns import AnswerPattern

__all__ = ["Answers", "normalized", "read_aliases"]

END_MARKS = ".,;:!?。、…·~ \t\n"
"""What is not part of an answer at its end, after NFKC has made full-width marks half-width."""
NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"
"""What `number` extracts."""


def normalized(text: str) -> str:
    """Return an answer in NFKC, without space around it and punctuation at its end."""
    return unicodedata.normalize("NFKC", text).strip().rstrip(END_MARKS)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Says which answer a text gives.

    Raises:
        RequestError: the pattern does not compile, or could take time without bound.
    """

    pattern: str | None = None
    """A regular expression whose first match (its first group, if it has one) is the answer;
    `number` for the first number; by default the whole text is."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """What counts as the same answer: normalized form to the form it is counted as."""

    def __post_init__(self) -> None:
        _ = self._pattern  # refused now, if it is wrong

    def of(self, text: str, *, finished: bool) -> str | None:
        """Return the answer, or None where there is none, or while it may still change.

        Args:
            text: the text so far.
            finished: whether it is all. Before, an answer is certain as soon as no more text
                could change the pattern's first match: `5` may still become 57, `5,` is 5.
        """
        if self._pattern is None:
            return self._named(text) if finished else None
        found = self._pattern.first(unicodedata.normalize("NFKC", text), finished=finished)
        return None if found is None else self._named(found)

    @cached_property
    def _pattern(self) -> AnswerPattern | None:
        if self.pattern is None:
            return None
        return AnswerPattern(NUMBER if self.pattern == "number" else self.pattern)

    def _named(self, text: str) -> str:
        plain = normalized(text)
        return self.aliases.get(plain, plain)


def read_aliases(path: str | Path) -> dict[str, str]:
    """Read a file of answers that count as one, for `Answers`.

    Each line holds the forms of one answer, separated by tabs, the one to be shown first; empty
    lines and those that begin with # are skipped.

    Raises:
        RequestError: the file cannot be read, or one form stands in two lines.
    """
    aliases: dict[str, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"aliases: {path} cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *_ = forms = line.split("\t")
        for form in map(normalized, forms):
            if aliases.setdefault(form, name.strip()) != name.strip():
                raise RequestError(
                    f"aliases: {form!r} in line {number} of {path} already counts as "
                    f"{aliases[form]!r}; each form may stand in one line only"
                )
    return aliases

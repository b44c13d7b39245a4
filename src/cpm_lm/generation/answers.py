"""The answer that a text gives, normalized so that equal answers are counted as one.

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
"""Characters removed from the end of an answer; NFKC has made full-width marks half-width."""
NUMBER = r"[-+]?[0-9]+(?:\.[0-9]+)?"
"""The pattern that the name `number` stands for."""


def normalized(text: str) -> str:
    """Return an answer in NFKC, without surrounding space and final punctuation.

    >>> normalized(" ５７。")
    '57'
    """
    return unicodedata.normalize("NFKC", text).strip().rstrip(END_MARKS)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Extracts the answer from a text.

    Raises:
        RequestError: the pattern does not compile, or its matching time is not bounded.
    """

    pattern: str | None = None
    """A regular expression whose first match (its first group, if it has one) is the answer;
    `number` for the first number; None for the whole text."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The answers that count as one: from a normalized form to the form that is counted."""

    def __post_init__(self) -> None:
        _ = self._pattern  # compiled here, so that a wrong pattern fails here

    def of(self, text: str, *, finished: bool) -> str | None:
        """Return the answer; None if there is none or while it may still change.

        >>> answers = Answers(pattern="number")
        >>> answers.of("5", finished=False)  # may still become 57
        >>> answers.of("5,", finished=False)
        '5'

        Args:
            text: the text so far.
            finished: whether the text is complete. In an incomplete text the answer is certain as
                soon as no further text can change the pattern's first match.
        """
        if self._pattern is None:
            return self._canonical(text) if finished else None
        found = self._pattern.first(unicodedata.normalize("NFKC", text), finished=finished)
        return None if found is None else self._canonical(found)

    @cached_property
    def _pattern(self) -> AnswerPattern | None:
        if self.pattern is None:
            return None
        return AnswerPattern(NUMBER if self.pattern == "number" else self.pattern)

    def _canonical(self, text: str) -> str:
        """Return the form in which an answer is counted."""
        form = normalized(text)
        return self.aliases.get(form, form)


def read_aliases(path: str | Path) -> dict[str, str]:
    """Read a file of answers that count as one, for `Answers`.

    Each line holds the forms of one answer, separated by tabs; the first form is displayed. Empty
    lines and lines that begin with # are skipped.

    Raises:
        RequestError: the file cannot be read, or two lines have the same form.
    """
    aliases: dict[str, str] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
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

"""The answer that a text gives, normalized so that equal answers are counted as one.

Knows texts; does not know models, tokens or how the texts were drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from cpm_lm.encodings import decoded
from cpm_lm.errors import RequestError
from cpm_lm.files import TEXT_LIMIT, read_limited
from cpm_lm.generation.numbers import EITHER, SEPARATED, read, with_wide_separators
from cpm_lm.generation.patterns import AnswerPattern

__all__ = ["Answers", "normalized", "read_aliases"]

END_MARKS = ".,;:!?。、…·~ \t\n"
"""Characters removed from the end of an answer; NFKC has made full-width marks half-width."""


def normalized(text: str) -> str:
    """Return an answer in NFKC, without surrounding space and final punctuation.

    >>> normalized(" ５７。")
    '57'
    """
    return normalize("NFKC", text).strip().rstrip(END_MARKS)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Extracts the answer from a text.

    Raises:
        RequestError: the pattern does not compile, or its matching time is not bounded.
    """

    pattern: str | None = None
    """A regular expression whose match is the answer, or of its groups the first that took part;
    `number` for a number; None for the whole text. Its literals are folded into NFKC."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """The answers that count as one: from a normalized form to the form that is counted."""
    match: str = "first"
    """Which match is the answer: `first`, or `last`, which is known at the end of the text only."""
    commas_separate: bool = False
    """Whether a comma ends a number; otherwise 1,234 is one number."""

    def __post_init__(self) -> None:
        _ = self._pattern  # compiled here, so that a wrong pattern fails here

    def of(self, text: str, *, finished: bool) -> str | None:
        """Return the answer; None if there is none or while it may still change.

        >>> answers = Answers(pattern="number")
        >>> answers.of("5", finished=False)  # may still become 57
        >>> answers.of("5 ", finished=False)
        '5'

        Args:
            text: the text so far.
            finished: whether the text is complete.
        """
        return self.decide(text, finished=finished)[1]

    def decide(self, text: str, *, finished: bool) -> tuple[bool, str | None]:
        """Return whether the answer is decided, and the answer: None if there is none.

        In an incomplete text the first answer is decided as soon as no further text can change the
        pattern's first match. An empty answer is none, unless an alias names it.

        Args:
            text: the text so far.
            finished: whether the text is complete.
        """
        if self._pattern is None:
            return finished, self._counted(text) if finished else None
        last = self.match == "last"
        if last and not finished:
            return False, None
        plain = with_wide_separators(text) if self._numeric else normalize("NFKC", text)
        found = self._pattern.last(plain) if last else self._pattern.first(plain, finished=finished)
        if found is None:
            return finished, None
        if self._numeric:
            return True, self._counted(read(found[0], last=last))
        groups = found.groups() or (found[0],)
        part = next((group for group in groups if group is not None), None)
        return True, None if part is None else self._counted(part)

    @property
    def _numeric(self) -> bool:
        return self.pattern == "number"

    @cached_property
    def _pattern(self) -> AnswerPattern | None:
        if self._numeric:
            return AnswerPattern(SEPARATED if self.commas_separate else EITHER)
        return None if self.pattern is None else AnswerPattern(self.pattern)

    @cached_property
    def _names(self) -> Mapping[str, str]:
        """The aliases; of numbers also by their value."""
        numbers = {
            read(form): name
            for form, name in self.aliases.items()
            if self._numeric and re.fullmatch(EITHER, form)
        }
        return {**numbers, **self.aliases}

    def _counted(self, text: str) -> str | None:
        """Return the form of an answer that is counted, or None for an empty one."""
        plain = normalized(text)
        return self._names.get(plain, plain) or None


def read_aliases(path: str | Path) -> dict[str, str]:
    """Read a file of answers that count as one, for `Answers`.

    Each line holds the forms of one answer, separated by tabs; the first form is displayed. Empty
    lines and lines that begin with # are skipped.

    Raises:
        RequestError: the file cannot be read, or two lines have the same form.
    """
    aliases: dict[str, str] = {}
    data = read_limited(Path(path), TEXT_LIMIT, RequestError)
    lines = decoded(f"aliases: {path}", data).splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *_ = forms = line.split("\t")
        for form in map(normalized, forms):
            if aliases.setdefault(form, name.strip()) != name.strip():
                raise RequestError(
                    "aliases: {form!r} in line {number} of {path} already counts as "
                    "{aliases!r}; each form may stand in one line only",
                    form=form[:60],
                    number=number,
                    path=path,
                    aliases=aliases[form][:60],
                )
    return aliases

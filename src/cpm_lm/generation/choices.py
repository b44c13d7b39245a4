"""Given answers: which of them a text gives, and what each next token decides about it.

Knows tokenizers and texts; does not know probabilities: `decoding.choices` adds them up.

A text gives the longest choice that it begins with, after spaces. Where a choice ends in a Latin
letter or a digit, another letter or digit after it makes it another word or number: `12` does not
give `1`. Chinese has no such boundary: 北京市 gives 北京.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from cpm_lm.decoding.choices import Branch
from cpm_lm.decoding.frontier import NO_ANSWER
from cpm_lm.errors import RequestError
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Choices", "read_choices"]

SEPARATORS = str.maketrans("，、", ",,")
SPACES = " \t\u3000"
OTHER = "\0"
"""Stands for a character that no choice has, and that is no letter or digit."""


def read_choices(value: Any) -> tuple[str, ...]:
    """Return choices as a tuple; one text holds them with commas (also ， or 、) between them.

    >>> read_choices("甲,乙，丙")
    ('甲', '乙', '丙')

    Raises:
        RequestError: there are fewer than two, or one is empty or stands twice.
    """
    texts = value.translate(SEPARATORS).split(",") if isinstance(value, str) else list(value)
    names = [text.strip() if isinstance(text, str) else text for text in texts]
    if bad := [name for name in names if not isinstance(name, str) or not name]:
        raise RequestError("choice {bad!r}; expected text of at least one character", bad=bad[0])
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError("choice {twice!r} is given twice; give each once", twice=twice[0])
    if len(names) < 2:
        raise RequestError(
            "choices has {n_names} text; expected at least two, such as 甲,乙", n_names=len(names)
        )
    return tuple(names)


class Choices:
    """The choices of a vote.

    Args:
        tokenizer: of the model.
        names: the choices.
        banned: texts that cannot appear.

    Raises:
        RequestError: a choice can never appear, or two are the same to the tokenizer.
    """

    start = ""
    """The state of the empty text: a state is the text so far, without spaces before it."""

    def __init__(
        self, tokenizer: Tokenizer, names: Sequence[str], banned: Sequence[str] = ()
    ) -> None:
        self._tokenizer = tokenizer
        self._names: dict[str, str] = {}
        for name in names:
            form = tokenizer.as_generated(name).strip(SPACES)
            if not form:
                raise RequestError(
                    "choice {name!r} can never appear in the output: the vocabulary lacks "
                    "it; use another one",
                    name=name,
                )
            if self._names.setdefault(form, name) != name:
                raise RequestError(
                    "choices {names!r} and {name!r} are the same to the tokenizer; leave one "
                    "of them out",
                    names=self._names[form],
                    name=name,
                )
            if bad := next((ban for ban in banned if tokenizer.as_generated(ban) in form), None):
                raise RequestError(
                    "choice {name!r} holds the banned text {bad!r}, so it can never appear; "
                    "leave one of them out",
                    name=name,
                    bad=bad,
                )
        self._branches: dict[Hashable, Branch] = {}
        self._by_first: dict[str, tuple[list[str], dict[str, list[int]]]] = {}

    def decide(self, text: str, *, finished: bool) -> Hashable | None:
        """Return the choice that a text gives, or NO_ANSWER; None while it may still change."""
        if not finished and any(self._may_become(text, form) for form in self._names):
            return None
        given = [form for form in self._names if _begins(text, form)]
        return self._names[max(given, key=len)] if given else NO_ANSWER

    def branch(self, state: Hashable) -> Branch:
        """Return what the next token decides after a text."""
        if state not in self._branches:
            assert isinstance(state, str)
            self._branches[state] = self._new_branch(state)
        return self._branches[state]

    @staticmethod
    def _may_become(text: str, form: str) -> bool:
        """Return whether what follows decides if a text gives this form."""
        return form.startswith(text) and (form != text or _is_word(form[-1]))

    def _new_branch(self, text: str) -> Branch:
        texts, by_first = self._spelled(text)
        following = {
            form[len(text)]
            for form in self._names
            if form.startswith(f"{text}") and len(form) > len(text)
        }
        if text in self._names and _is_word(text[-1]):
            following |= {first for first in by_first if _is_word(first)}
        following |= {"", *SPACES}
        decided: dict[int, Hashable] = {}
        opened: dict[int, Hashable] = {}
        for first in following:
            for token in by_first.get(first, ()):
                after = (text + texts[token]).lstrip(SPACES)
                answer = self.decide(after, finished=False)
                if answer is None:
                    opened[token] = after
                else:
                    decided[token] = answer
        return Branch(
            ended=self.decide(text, finished=True),
            default=self.decide(text + OTHER, finished=True),
            decided=decided,
            opened=opened,
        )

    def _spelled(self, before: str) -> tuple[list[str], dict[str, list[int]]]:
        """Return the text of every token after a text, and the tokens by their first character."""
        tokenizer = self._tokenizer
        depends = type(tokenizer).text_after is not Tokenizer.text_after
        last = before[-1:] if depends else ""
        if last not in self._by_first:
            texts = [tokenizer.text_after(t, last) for t in range(tokenizer.vocab_size)]
            by_first: dict[str, list[int]] = {}
            for token, text in enumerate(texts):
                by_first.setdefault(text[:1], []).append(token)
            self._by_first[last] = texts, by_first
        return self._by_first[last]


def _begins(text: str, form: str) -> bool:
    """Return whether a text begins with a form that no letter or digit makes a longer word."""
    rest = text[len(form) :]
    joined = bool(rest) and _is_word(form[-1]) and _is_word(rest[0])
    return text.startswith(form) and not joined


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()

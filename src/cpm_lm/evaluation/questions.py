"""From an item to what a model is asked: candidates, prompts and continuations, with shots.

Knows templates, tokenizers and the context's length; does not know how anything is scored.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.items import Item
from cpm_lm.evaluation.task import FIELD, Protocol, Task
from cpm_lm.languages import tr

__all__ = ["Candidate", "Question", "Questioner"]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A text that may be the answer, and what is scored for it."""

    label: str
    prompt: str
    continuation: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """An item, ready to be asked."""

    candidates: tuple[Candidate, ...]
    """Empty for a task that generates."""
    right: int
    """The index of the right candidate."""
    prompt: str
    """Of a task that generates."""
    answers: tuple[str, ...]
    """Of a task that generates: the right ones."""
    group: str
    cut: bool
    """Whether the item was shortened to fit the context."""


class Questioner:
    """Makes questions of a task's items.

    Args:
        task: the task.
        protocol: which candidates.
        shots: items that stand, with their answers, before every item.
        seed: of the candidates that are sampled.
        room: says whether the context holds a prompt and what follows it.
    """

    def __init__(
        self,
        task: Task,
        protocol: Protocol,
        shots: Sequence[Item],
        seed: int,
        room: Callable[[str, str], bool],
    ) -> None:
        self._task, self._protocol, self._seed, self._room = task, protocol, seed, room
        self._header = "".join(self._shot(item) for item in shots)

    def question(self, item: Item, number: int) -> Question:
        """Return the question of an item.

        Raises:
            ConfigError: it lacks a field that the task names, its answer is no candidate, a
                candidate is empty, or even the shortest form does not fit the context.
        """
        task = self._task
        labels, right = ((), 0) if task.kind == "generate" else self._candidates(item, number)
        group = str(item.get(task.group)) if task.group else ""
        kept, cut = item, False
        while not all(self._room(*pair) for pair in self._texts(kept, labels)):
            kept, cut = self._shorter(kept), True
        texts = self._texts(kept, labels)
        return Question(
            candidates=tuple(
                Candidate(label=label, prompt=prompt, continuation=continuation)
                for label, (prompt, continuation) in zip(labels, texts, strict=False)
            ),
            right=right,
            prompt=texts[0][0],
            answers=_answers(item, task) if task.kind == "generate" else (),
            group=group,
            cut=cut,
        )

    def _texts(self, item: Item, labels: Sequence[str]) -> list[tuple[str, str]]:
        """Return prompt and continuation for each label; of a task that generates, the prompt."""
        template = self._task.template
        if self._task.kind == "generate":
            return [(self._header + self._filled(template.prompt, item, ""), "")]
        return [
            (
                self._header + self._filled(template.prompt, item, label),
                self._filled(template.continuation, item, label),
            )
            for label in labels
        ]

    def _shot(self, item: Item) -> str:
        """Return an item with its answer."""
        template, task = self._task.template, self._task
        if task.kind == "generate":
            label = _answers(item, task)[0]
        else:
            labels, right = _all_candidates(item, task)
            label = labels[right]
        text = self._filled(template.prompt + template.continuation, item, label)
        return text + template.separator

    def _filled(self, text: str, item: Item, label: str) -> str:
        """Fill a template's fields; a field is never filled twice."""

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name == "label":
                return label
            found = _text(item, name)
            for old, new in self._task.template.replace.items():
                found = found.replace(old, new.replace("{label}", label))
            return found

        return FIELD.sub(value, text)

    def _candidates(self, item: Item, number: int) -> tuple[tuple[str, ...], int]:
        """Return the candidates that the protocol takes, and the index of the right one."""
        labels, right = _all_candidates(item, self._task)
        count = self._protocol.sampled
        if not count or count >= len(labels):
            return labels, right
        drawn = random.Random(f"{self._seed} {number}")  # noqa: S311  # reproducible, not secret
        others = drawn.sample([i for i in range(len(labels)) if i != right], count - 1)
        chosen = sorted([right, *others])
        return tuple(labels[i] for i in chosen), chosen.index(right)

    def _shorter(self, item: Item) -> Item:
        """Return the item with an eighth less of the field that the task cuts."""
        name = self._task.cut
        text = item.get(name) if name else ""
        if not isinstance(text, str) or len(text) < 2:
            raise ConfigError(
                "{where} does not fit the model's context{hint}",
                where=item.where,
                hint="" if name else tr("; the task names no field to cut"),
            )
        return Item({**item.fields, name: text[: len(text) * 7 // 8]}, item.where)


def _text(item: Item, name: str) -> str:
    """Return a field as it stands in a text; a list is joined as Chinese lists are.

    Raises:
        ConfigError: it is missing, null or an object.
    """
    value = item.get(name)
    return "、".join(_texts(item, name, value)) if isinstance(value, list) else _plain(item, name)


def _plain(item: Item, name: str) -> str:
    return _texts(item, name, [item.get(name)])[0]


def _texts(item: Item, name: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Return values as texts; true and false as JSON writes them."""
    texts = []
    for value in values:
        if not isinstance(value, str | int | float):
            raise ConfigError(
                "{where}: {name} holds {value!r:.60}; expected a text or a number",
                where=item.where,
                name=name,
                value=value,
            )
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if any("\ud800" <= c <= "\udfff" for c in text):
            raise ConfigError(
                "{where}: {name} holds half a character (a lone surrogate); mend the file",
                where=item.where,
                name=name,
            )
        texts.append(text)
    return tuple(texts)


def _answers(item: Item, task: Task) -> tuple[str, ...]:
    value = item.get(task.answers)
    answers = _texts(item, task.answers, value if isinstance(value, list) else [value])
    if not answers:
        raise ConfigError("{where} has no answer in {name!r}", where=item.where, name=task.answers)
    return answers


def _all_candidates(item: Item, task: Task) -> tuple[tuple[str, ...], int]:
    """Return all candidates of an item, and the index of the right one."""
    named = task.candidates
    if named.labels:
        labels = tuple(named.labels.values())
        right = _place(item, named.answer, tuple(named.labels), indices=False)
    elif named.fields:
        labels = tuple(_text(item, name) for name in named.fields)
        right = 0
        if named.answer:  # the name of a field, or what it holds
            names = tuple(named.fields) if item.get(named.answer) in named.fields else labels
            right = _place(item, named.answer, names)
    else:
        found = item.get(named.field)
        if not isinstance(found, list):
            raise ConfigError(
                "{where}: {name} is {found!r:.60}; expected a list",
                where=item.where,
                name=named.field,
                found=found,
            )
        labels = _texts(item, named.field, found)
        right = _place(item, named.answer, labels)
    if not all(labels):
        raise ConfigError("{where} has an empty candidate", where=item.where)
    if len(set(labels)) < 2:
        raise ConfigError(
            "{where} has the candidates {labels}; expected at least two that differ",
            where=item.where,
            labels=", ".join(labels),
        )
    return labels, labels.index(labels[right])  # of equal ones, the first is taken


def _place(item: Item, name: str, choices: Sequence[str], *, indices: bool = True) -> int:
    """Return the index of what an answer says: by number, where these are indices, or by text."""
    said, text = item.get(name), _plain(item, name)
    if indices and type(said) is int and 0 <= said < len(choices):
        return said
    if text in choices:
        return choices.index(text)
    raise ConfigError(
        "{where}: {name} is {said!r:.60}, which is none of the labels {labels}",
        where=item.where,
        name=name,
        said=said,
        labels=", ".join(choices),
    )

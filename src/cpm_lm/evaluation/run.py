"""Run a task on a model: read items, ask, score, and sum up; an interrupted run is continued.

Knows tasks and a model's public methods; does not know engines.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from cpm_lm.choices import Boundary, choices
from cpm_lm.distributions.checks import check_number, check_one_of
from cpm_lm.errors import ConfigError, RequestError
from cpm_lm.evaluation.asking import ask_choices, ask_text
from cpm_lm.evaluation.items import Item, find_file, read_items
from cpm_lm.evaluation.questions import Question, Questioner
from cpm_lm.evaluation.result import Outcome, Result, summarized
from cpm_lm.evaluation.state import RunState
from cpm_lm.evaluation.task import Protocol, Task
from cpm_lm.evaluation.task_file import load_task
from cpm_lm.installation import version
from cpm_lm.model import Model, load
from cpm_lm.progress import Progress

__all__ = ["check", "evaluate"]

BATCH = 8
"""Items whose candidates are scored in one tree; their shots are computed once."""


def evaluate(
    model: Model | str | Path | None,
    task: str | Path,
    data: str | Path | None = None,
    *,
    protocol: str | None = None,
    shots: int | None = None,
    seed: int = 0,
    boundary: str = "apart",
    limit: int | None = None,
    state: str | Path | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure a model on a task.

    Args:
        model: a model, or what `load` takes.
        task: the name of a task in the package, or the path of a task file.
        data: the directory of the task's files, or one that holds several tasks; by default the
            current directory.
        protocol: by default the task's first.
        shots: examples before each item; by default the task's number.
        seed: of the shots and of sampled candidates and votes.
        boundary: "apart" or "joint", see `Model.score`.
        limit: the number of items, drawn by the seed, because many files are sorted by their
            answers; by default all.
        state: a file that keeps what is done, so that an interrupted run is continued; it is
            the caller's to remove.
        progress: called with the items done and the total.

    Raises:
        ConfigError: the task, the protocol or a file is wrong.
        RequestError: an option is out of range.
    """
    found = load_task(task)
    check_one_of("boundary", boundary, choices(Boundary))
    check_number("seed", seed, low=0, high=2**64 - 1, whole=True)
    name, chosen = _protocol(found, protocol)
    opened = model if isinstance(model, Model) else load(model)
    directory = Path("." if data is None else data)
    items, files = _items(found, directory, limit, seed)
    number = found.shots if shots is None else shots
    questioner = Questioner(
        found, chosen, _shots(found, directory, number, seed), seed, _room(opened, found)
    )
    about = {
        "task": found.name,
        "version": found.version,
        "task_digest": found.digest,
        "protocol": name,
        "shots": number,
        "seed": seed,
        "boundary": boundary,
        "data_digest": files,
        "model_digest": opened.digest,
        "engine": opened.engine.name,
        "package": version(),
    }
    with RunState(state, {**about, "items": len(items)}) as kept:
        while (done := len(kept.outcomes)) < len(items):
            questions = [questioner.question(item, at) for at, item in items[done : done + BATCH]]
            kept.add(*_outcomes(opened, found, chosen, questions, boundary, seed))
            if progress is not None:
                progress(len(kept.outcomes), len(items))
        outcomes, rows = kept.outcomes, kept.rows
    headline = found.normalization if found.kind == "choice" else found.metric
    chance = sum(each.chance for each in outcomes) / len(outcomes)
    return summarized(
        outcomes, headline, rows=rows, chance=chance if found.kind == "choice" else None, **about
    )


def check(
    task: str | Path,
    data: str | Path | None = None,
    *,
    protocol: str | None = None,
    shots: int | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> Task:
    """Return a task, after its protocol, its files and its items are checked.

    Args: see `evaluate`.

    Raises:
        ConfigError: the task, the protocol, a file or an item is wrong.
    """
    found = load_task(task)
    _, chosen = _protocol(found, protocol)
    directory = Path("." if data is None else data)
    shown = _shots(found, directory, found.shots if shots is None else shots, seed)
    questioner = Questioner(found, chosen, shown, seed, lambda *_: True)
    for at, item in _items(found, directory, limit, seed)[0]:
        questioner.question(item, at)
    return found


def _outcomes(
    model: Model,
    task: Task,
    protocol: Protocol,
    questions: Sequence[Question],
    boundary: str,
    seed: int,
) -> tuple[list[Outcome], int]:
    """Return the outcomes of some questions, and the rows computed."""
    if task.kind == "choice":
        return ask_choices(model, task, questions, boundary)
    outcomes, rows = [], 0
    for question in questions:
        outcome, more = ask_text(model, task, protocol, question, seed)
        outcomes.append(outcome)
        rows += more
    return outcomes, rows


def _protocol(task: Task, name: str | None) -> tuple[str, Protocol]:
    if name is None:
        return next(iter(task.protocols.items()))
    if name not in task.protocols:
        raise ConfigError(
            "the task {task} has no protocol {name!r}; expected {known}",
            task=task.name,
            name=name,
            known=", ".join(task.protocols),
        )
    return name, task.protocols[name]


def _items(
    task: Task, directory: Path, limit: int | None, seed: int
) -> tuple[list[tuple[int, Item]], str]:
    """Return the items to ask with their places in the file, and the digest of all files."""
    if limit is not None and limit < 1:
        raise RequestError("limit is {limit}; expected at least 1", limit=limit)
    digest = hashlib.sha256()
    if task.data.format == "sums":
        items = read_items(task, Path(task.data.test))
    else:
        names = [name for name in (task.data.test, task.data.train) if name]
        files = [find_file(task, directory, name) for name in names]
        for file in files:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        items = read_items(task, files[0])
    placed = list(enumerate(items))
    if limit is not None and limit < len(items):
        drawn = random.Random(f"items {seed}").sample(placed, limit)  # noqa: S311  # reproducible
        placed = sorted(drawn, key=lambda pair: pair[0])
    return placed, "" if task.data.format == "sums" else digest.hexdigest()


def _shots(task: Task, directory: Path, count: int, seed: int) -> list[Item]:
    """Return the items that stand before every item, drawn by the seed."""
    if count < 0:
        raise RequestError("shots is {shots}; expected at least 0", shots=count)
    if not count:
        return []
    if not task.data.train:
        raise ConfigError("the task {task} has no file of shots; use 0 shots", task=task.name)
    made = task.data.format == "sums"
    path = Path(task.data.train) if made else find_file(task, directory, task.data.train)
    items = read_items(task, path)
    if count > len(items):
        raise ConfigError(
            "{path} has {n} items, and {shots} shots were asked for",
            path=path,
            n=len(items),
            shots=count,
        )
    return random.Random(seed).sample(items, count)  # noqa: S311  # reproducible, not secret


def _room(model: Model, task: Task) -> _Room:
    return _Room(model, 0 if task.kind == "choice" else task.max_tokens)


@dataclasses.dataclass(frozen=True)
class _Room:
    """Says whether the context holds a prompt, what follows it, and `more` tokens."""

    model: Model
    more: int

    def __call__(self, prompt: str, continuation: str) -> bool:
        tokenizer = self.model.tokenizer
        ids = [*tokenizer.encode(prompt), *tokenizer.encode(continuation)]
        before = max(1, len(tokenizer.prefix_ids))
        room = self.model.engine.config.n_positions - before + (0 if self.more else 1)
        return len(ids) + self.more <= room

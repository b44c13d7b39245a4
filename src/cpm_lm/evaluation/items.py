"""The items of a task, read from its files and checked.

Knows file formats and fields; does not know models.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.task import Task
from cpm_lm.languages import tr

__all__ = ["Item", "find_file", "read_items"]

SUMS = 200
"""Items of the format `sums`."""


@dataclass(frozen=True)
class Item:
    """One item: its fields, and where they were read."""

    fields: Mapping[str, Any]
    where: str

    def get(self, name: str) -> Any:
        """Return a field; a dot leads into an object, as in `target.span1_text`.

        Raises:
            ConfigError: the item has no such field.
        """
        value: Any = self.fields
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise ConfigError(
                    "{where} has no field {name!r}, which the task names; it has {found}",
                    where=self.where,
                    name=name,
                    found=", ".join(map(str, list(self.fields)[:10])),
                )
            value = value[part]
        return value


def find_file(task: Task, directory: Path, name: str) -> Path:
    """Return a file of the task in its own directory, or in one that holds several tasks.

    Raises:
        ConfigError: there is no such file.
    """
    places = [directory / name, directory / task.data.folder / name, directory / task.name / name]
    if found := next((place for place in places if place.is_file()), None):
        return found
    raise ConfigError(
        "there is no {name} in {directory}, nor in {folder} below it; give the directory of the "
        "task's files (--data)",
        name=name,
        directory=directory,
        folder=task.data.folder or task.name,
    )


def read_items(task: Task, path: Path) -> list[Item]:
    """Return the items of a file.

    Raises:
        ConfigError: it cannot be read, is empty, or a line of it is no item.
    """
    if task.data.format == "sums":
        return list(_sums(path.name))
    if task.data.format not in READERS:
        raise ConfigError(
            "[data] format is {format!r}; expected one of {known}",
            format=task.data.format,
            known=", ".join([*READERS, "sums"]),
        )
    try:
        text = path.read_text("utf-8-sig")
        items = list(READERS[task.data.format](text, str(path)))
    except (OSError, UnicodeError, csv.Error) as error:
        raise ConfigError("{path} cannot be read: {error}", path=path, error=error) from None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ConfigError(
            "{path} is not of the format {format!r}: {error}",
            path=path,
            format=task.data.format,
            error=repr(error)[:200],
        ) from None
    if not items:
        raise ConfigError("{path} has no items; expected at least one", path=path)
    return items


def _jsonl(text: str, path: str) -> Iterator[Item]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            value = json.loads(line, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                "{where} is not JSON: {error}", where=where, error=str(error)[:200]
            ) from None
        if not isinstance(value, dict):
            raise ConfigError(
                "{where} is {kind}; expected a JSON object", where=where, kind=type(value).__name__
            )
        yield Item(value, where)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _json(text: str, path: str) -> Iterator[Item]:
    for number, value in enumerate(json.loads(text, parse_constant=_refuse), 1):
        if not isinstance(value, dict):
            raise TypeError(tr("item {number} is {name}", number=number, name=type(value).__name__))
        yield Item(value, f"{path}: item {number}")


def _csv(text: str, path: str) -> Iterator[Item]:
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        yield Item(row, f"{path}:{number}")


def _c3(text: str, path: str) -> Iterator[Item]:
    """Yield the questions of C3's documents: [paragraphs, questions, id]."""
    for paragraphs, questions, name in json.loads(text):
        for number, question in enumerate(questions, 1):
            fields = {**question, "passage": "\n".join(paragraphs)}
            yield Item(fields, f"{path}: {name}, question {number}")


def _squad(text: str, path: str) -> Iterator[Item]:
    """Yield the questions of a file of SQuAD's form, as CMRC 2018 and DRCD have it."""
    for document in json.loads(text)["data"]:
        for paragraph in document["paragraphs"]:
            for question in paragraph["qas"]:
                answers = list(dict.fromkeys(answer["text"] for answer in question["answers"]))
                fields = {
                    "context": paragraph["context"],
                    "question": question["question"],
                    "answers": answers,
                }
                yield Item(fields, f"{path}: {question['id']}")


def _sums(name: str) -> Iterator[Item]:
    """Yield sums of two numbers below 100; the file's name is the seed: other names, other sums."""
    drawn = random.Random(name)  # noqa: S311  # reproducible, not secret
    for number in range(1, SUMS + 1):
        a, b = drawn.randrange(1, 100), drawn.randrange(1, 100)
        yield Item({"a": str(a), "b": str(b), "answer": str(a + b)}, f"{name}: item {number}")


READERS = {"jsonl": _jsonl, "json": _json, "csv": _csv, "c3": _c3, "squad": _squad}

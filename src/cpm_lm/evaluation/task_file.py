"""Task files: versioned TOML, in the package or anybody's own.

Knows the keys and their types; does not know items or models.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.task import (
    FIELD,
    KINDS,
    METHODS,
    METRICS,
    NORMALIZATIONS,
    Candidates,
    Data,
    Protocol,
    Task,
    Template,
)

__all__ = ["load_task", "task_names"]

TASKS = Path(__file__).parent / "tasks"
PARTS: Final[Mapping[str, type]] = {"data": Data, "template": Template, "candidates": Candidates}


def task_names() -> list[str]:
    """Return the names of the tasks in the package, sorted."""
    return sorted(path.stem for path in TASKS.glob("*.toml"))


def load_task(name: str | Path) -> Task:
    """Return a task of the package by name, or any task by the path of its file.

    Raises:
        ConfigError: there is none, its file cannot be read, or it has an unknown or a wrong key.
    """
    path = Path(name)
    if (
        path.suffix == ".toml" and path.exists() and not path.is_file()
    ):  # a pipe would be waited for
        raise ConfigError("{path} is not a file; give another path", path=path)
    if path.suffix != ".toml":
        path = TASKS / f"{name}.toml"
        if not path.is_file() or path.parent != TASKS:
            near = difflib.get_close_matches(str(name), task_names(), n=3) or task_names()
            raise ConfigError(
                "there is no task {name!r}; expected {near}, or the path of a .toml file",
                name=str(name),
                near=", ".join(near),
            )
    try:
        content = path.read_bytes()
        values = tomllib.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError("{path} cannot be read: {error}", path=path, error=error) from None
    return _task(values, path, hashlib.sha256(content).hexdigest())


def _task(values: dict[str, Any], path: Path, digest: str) -> Task:
    """Return the task that a file's values describe, checked."""
    made: dict[str, Any] = {"digest": digest}
    for key, kind in PARTS.items():
        if key in values:
            made[key] = _made(kind, values.pop(key), f"{path} [{key}]")
    protocols = values.pop("protocols", {"standard": {}})
    if not isinstance(protocols, dict) or not protocols:
        raise ConfigError("{path}: [protocols] has no protocol; give at least one", path=path)
    made["protocols"] = {
        name: _made(Protocol, value, f"{path} [protocols.{name}]")
        for name, value in protocols.items()
    }
    task: Task = _made(Task, values, str(path), made)
    _check(task, path)
    return task


def _made(kind: type, values: Any, where: str, made: Mapping[str, Any] | None = None) -> Any:
    """Return a dataclass of these values; unknown, missing and wrongly typed keys are refused."""
    made = made or {}
    if not isinstance(values, dict):
        raise ConfigError("{where} is {found!r:.40}; expected a table", where=where, found=values)
    fields = {each.name: each for each in dataclasses.fields(kind)}
    known = [name for name in fields if name not in made and name != "digest"]
    if unknown := sorted(values.keys() - known):
        near = difflib.get_close_matches(unknown[0], known, n=1) or known
        raise ConfigError(
            "{where} has the unknown key {key!r}; expected {near}",
            where=where,
            key=unknown[0],
            near=", ".join(near),
        )
    required = {
        name
        for name, each in fields.items()
        if each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
    }
    if missing := sorted(required - values.keys() - made.keys()):
        raise ConfigError("{where} lacks the key {key}", where=where, key=", ".join(missing))
    for name, value in values.items():
        if not _is(value, str(fields[name].type)):
            raise ConfigError(
                "{where}: {name} is {value!r:.60}; expected {type}",
                where=where,
                name=name,
                value=value,
                type=fields[name].type,
            )
    return kind(**values, **made)


def _is(value: Any, wanted: str) -> bool:
    """Say whether a value is of a field's type."""
    if wanted == "Sequence[str]":
        return isinstance(value, list) and all(isinstance(v, str) for v in value)
    if wanted == "Mapping[str, str]":
        return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())
    return type(value) is {"str": str, "int": int}[wanted]


def _check(task: Task, path: Path) -> None:
    """Refuse values that contradict each other."""
    for name, value, choices in (
        ("kind", task.kind, KINDS),
        ("normalization", task.normalization, NORMALIZATIONS),
        ("metric", task.metric, METRICS.get(task.kind, ())),
        *(("method", protocol.method, METHODS) for protocol in task.protocols.values()),
    ):
        if value not in choices:
            raise ConfigError(
                "{where}: {name} is {value!r:.60}; expected {type}",
                where=path,
                name=name,
                value=value,
                type=", ".join(choices),
            )
    _check_numbers(task, path)
    _check_template(task, path)
    named = task.candidates
    if task.kind == "choice" and sum(map(bool, (named.labels, named.field, named.fields))) != 1:
        raise ConfigError("{path}: [candidates] needs one of labels, field and fields", path=path)
    if task.kind == "generate" and not task.answers:
        raise ConfigError(
            "{path}: a task that generates needs answers, the field with the right one", path=path
        )
    if not all(named.labels.values()):
        raise ConfigError("{path}: [candidates] has a label without text", path=path)


def _check_numbers(task: Task, path: Path) -> None:
    """Refuse numbers that are out of range."""
    numbers = [("version", task.version, 1), ("shots", task.shots, 0)]
    numbers.append(("max_tokens", task.max_tokens, 1))
    numbers += [("n", each.n, 1) for each in task.protocols.values()]
    numbers += [("sampled", each.sampled, 2) for each in task.protocols.values() if each.sampled]
    for name, value, low in numbers:
        if value < low:
            raise ConfigError(
                "{path}: {name} is {value}; expected at least {low}",
                path=path,
                name=name,
                value=value,
                low=low,
            )


def _check_template(task: Task, path: Path) -> None:
    """Refuse a brace that belongs to no field, and candidates that would all be one text."""
    template = task.template
    texts = [template.prompt, template.continuation, *template.replace.values()]
    if broken := next((text for text in texts if re.search("[{}]", FIELD.sub("", text))), None):
        raise ConfigError(
            "{path}: the template {text!r:.60} has a brace that belongs to no field; a field is "
            "written {example}",
            path=path,
            text=broken,
            example="{name}",
        )
    if not any("{label}" in text for text in texts):
        raise ConfigError(
            "{path}: [template] does not say where the candidate stands; expected {example} in it",
            path=path,
            example="{label}",
        )
    if not template.continuation:
        raise ConfigError("{path}: continuation is empty; nothing would be scored", path=path)

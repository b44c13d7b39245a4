"""A task: how items become prompts and candidates, and what is measured.

Knows names and numbers; does not know files (`task_file` does), items or models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "FIELD",
    "KINDS",
    "METHODS",
    "METRICS",
    "NORMALIZATIONS",
    "Candidates",
    "Data",
    "Protocol",
    "Task",
    "Template",
]

FIELD: Final = re.compile(r"\{([\w.]+)\}")
"""A field in a template."""
NORMALIZATIONS: Final = ("sum", "per_token", "per_character", "per_byte", "pmi")
KINDS: Final = ("choice", "generate")
METHODS: Final = ("greedy", "sample", "exact")
METRICS: Final = {"choice": ("accuracy",), "generate": ("exact_match", "f1")}


@dataclass(frozen=True, kw_only=True)
class Data:
    """Where the items are."""

    test: str
    """The file of the items that are scored."""
    train: str = ""
    """The file that shots are drawn from; empty: there are none."""
    format: str = "jsonl"
    """jsonl, csv, json (an array), c3, squad, or sums: items that are made, without a file."""
    folder: str = ""
    """Where the files are below a directory that holds several tasks."""


@dataclass(frozen=True, kw_only=True)
class Template:
    """The texts of an item; {name} is a field, {label} a candidate."""

    continuation: str
    """What is scored, or, for a task of kind generate, the answer in a shot."""
    prompt: str = ""
    """What stands before it; empty: the start of a text."""
    separator: str = "\n"
    """What stands between shots, and between them and the item."""
    replace: Mapping[str, str] = field(default_factory=dict)
    """Texts to replace in the item's fields by templates, such as a gap by {label}."""


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The candidates of an item, in one of three ways."""

    answer: str = ""
    """The field that says which candidate is right: its name among `labels` or `fields`, its text,
    or its index from 0. Without it the first of `fields` is right."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """All items have these: what the answer's field says, and the text."""
    field: str = ""
    """The item's field with a list of candidates."""
    fields: Sequence[str] = ()
    """The item's fields that are each a candidate."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A way of measuring the task."""

    note: str = ""
    """What it is, in words."""
    sampled: int = 0
    """Candidates of each item: the right one and others drawn by the seed; 0: all."""
    method: str = "greedy"
    """How a text is generated: greedy, sample (a vote of n) or exact (an exact vote)."""
    n: int = 40
    """Samples of a vote."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """How a model is measured on a set of items."""

    name: str
    version: int
    title: str
    kind: str
    data: Data
    template: Template
    protocols: Mapping[str, Protocol]
    """The first is the default."""
    candidates: Candidates = field(default_factory=Candidates)
    metric: str = "accuracy"
    normalization: str = "per_token"
    """The score by which the headline accuracy takes the best candidate; all are reported."""
    cut: str = ""
    """The field that is shortened at its end if the context does not hold a text; such texts are
    counted. Empty: the item's prompt loses its beginning."""
    group: str = ""
    """The field by which results are averaged once more, such as the paradigm of a pair."""
    shots: int = 0
    """Shots by default."""
    answers: str = ""
    """Of a task of kind generate: the field with the right answer, or a list of them."""
    extract: str = ""
    """Of a task of kind generate: `number` or a regular expression that finds the answer."""
    max_tokens: int = 32
    published: Sequence[str] = ()
    """Published results, each with its source, for people to compare."""
    digest: str = ""
    """The sha256 of the file."""

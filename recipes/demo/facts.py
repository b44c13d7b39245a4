"""Generated texts of facts: capitals, words in English, poets and dynasties, the sky.

The tables are in `facts.json`. Every fact is in the training text, so a question tests memory:
only the order of the examples before it is new.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["LISTS", "documents", "prompt", "table"]

LISTS = {
    "capitals": "capital_forms",
    "english": "english_forms",
    "dynasties": "dynasty_forms",
}
"""The lists, and the key of their templates."""


@cache
def _tables() -> dict[str, Any]:
    tables: dict[str, Any] = json.loads(Path(__file__).with_name("facts.json").read_text("utf-8"))
    return tables


def _rows(text: str) -> list[tuple[str, str]]:
    return [(left, right) for left, right in (row.split() for row in text.split("|"))]


def table(name: str) -> list[tuple[str, str]]:
    """Return a list's rows: a country and its capital, a word and its English, ..."""
    return _rows(_tables()[name])


def _list(rng: random.Random) -> str:
    """Return four to ten lines of one list in one form."""
    name = rng.choice(list(LISTS))
    form = rng.choice(_tables()[LISTS[name]])
    rows = rng.sample(table(name), rng.randint(4, 10))
    lines = [form.format(*row) for row in rows]
    return rng.choice(["\n", "\n", "，", "。"]).join(lines)


def _question(rng: random.Random) -> str:
    """Return three questions with their answers."""
    asked = {
        "capitals": "{}的首都是哪里？",
        "english": "{}用英语怎么说？",
        "dynasties": "{}是哪个朝代的人？",
    }
    name = rng.choice(list(asked))
    rows = rng.sample(table(name), 3)
    return "\n".join(f"问：{asked[name].format(left)}\n答：{right}。" for left, right in rows)


def _sky(rng: random.Random) -> str:
    """Return a few sentences about the weather, or a list of colors."""
    sky = _tables()["sky"]
    if rng.random() < 0.25:
        rows = rng.sample(_rows(sky["colors"]), 5)
        return "\n".join(f"{thing}是{color}的" for thing, color in rows)
    sentences = []
    for _ in range(rng.randint(1, 3)):
        looks = list(sky["looks"])
        # Earlier entries of the table are more frequent.
        weights = [1 / (i + 1) for i in range(len(looks))]
        look = rng.choices(looks, weights)[0]
        rest = rng.choice(sky["looks"][look])
        day, degree = rng.choice(sky["days"]), rng.choice(sky["degrees"])
        sentences.append(f"{day}的天空{degree}{look}，{rest}。")
    return "".join(sentences)


def documents(rng: random.Random) -> Iterator[str]:
    """Yield generated lists, questions and weather endlessly."""
    for _ in itertools.count():
        make = rng.choices([_list, _question, _sky], [0.6, 0.2, 0.2])[0]
        yield make(rng)


def prompt(name: str, row: tuple[str, str], rng: random.Random) -> tuple[str, str]:
    """Return a question in a list's first form, after three examples, and the rest of its line."""
    form = _tables()[LISTS[name]][0]
    rows = rng.sample([other for other in table(name) if other != row], 3)
    lines = [form.format(*other) for other in rows]
    start, _, end = form.rpartition("{}")
    return "\n".join([*lines, start.format(row[0])]), row[1] + end

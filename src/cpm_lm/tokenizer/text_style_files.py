"""Which convention of texts a directory's files say, and the file that records it.

Knows names of files and keys; the conventions themselves are in `text_style`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.tokenizer.added_tokens import AddedToken, named
from cpm_lm.tokenizer.json_file import read_json
from cpm_lm.tokenizer.text_style import DEFAULT_STYLE, STYLES, style_named

__all__ = [
    "KEY",
    "RECORD",
    "StyleFound",
    "find_style",
    "ids_in_config",
    "recorded_names",
    "rows_in_config",
    "write_style",
]

RECORD = "text_style.json"
"""A store's own file; other tools do not look at it."""
KEY = "text_style"
STORE = "manifest.json"
"""Every store has it. One without a record was written before there were records."""
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class StyleFound:
    """A convention, and what says that it is this model's."""

    name: str
    """One of STYLES."""
    evidence: str
    """What says so, in words; empty: nothing does, it is assumed."""


def find_style(
    directory: Path,
    settings: Mapping[str, Any],
    serialized: Mapping[str, Any],
    pieces: Collection[str],
    wanted: str | None,
) -> StyleFound:
    """Return the convention of a directory's model.

    Args:
        directory: where the tokenizer's files lie.
        settings: those of the tokenizer.
        serialized: what tokenizer.json holds, if it is there.
        pieces: all that have an id.
        wanted: what a user asked for, which wins.

    Raises:
        TokenizerError: `wanted`, or what is recorded, is none.
    """
    if wanted is not None:
        style_named(wanted, "the text style")
        return StyleFound(name=wanted, evidence="it was asked for")
    if (directory / RECORD).is_file():
        name = read_json(directory / RECORD).get(KEY)
        style_named(name, f"{KEY} in {directory / RECORD}")
        return StyleFound(name=str(name), evidence=f"it is recorded in {RECORD}")
    if (directory / STORE).is_file():
        return StyleFound(name=DEFAULT_STYLE, evidence="")
    return _inferred(directory, settings, serialized, pieces)


def _inferred(
    directory: Path,
    settings: Mapping[str, Any],
    serialized: Mapping[str, Any],
    pieces: Collection[str],
) -> StyleFound:
    """Return what the files of a published model say.

    An end of its own says more than the class: BertTokenizer puts [CLS] and [SEP] around a text
    whatever the model was trained on.
    """
    names = {role: content for role, content in named(settings).items() if content in pieces}
    cls, sep = (names.get(role, f"[{role.upper()}]") for role in ("cls", "sep"))
    end, begin = names.get("eos", sep), names.get("bos", cls)
    if (begin, end) != (cls, sep) and "eos" in names:
        begins = "bos" in names and settings.get("add_bos_token") is not False
        name = "bos-eos" if begins else "eos"
        return StyleFound(name=name, evidence=f"the files name eos_token {end!a:.60}")
    config = _config(directory)
    for file, values in (("the tokenizer's settings", settings), (CONFIG, config)):
        kind = values.get("tokenizer_class")
        if isinstance(kind, str) and kind.startswith("BertTokenizer"):
            return StyleFound(name="uer", evidence=f"tokenizer_class in {file} is {kind!a:.60}")
    if "eos" in names:
        return StyleFound(name="uer", evidence=f"the files name eos_token {end!a:.60}")
    if _template(serialized) == (cls, sep):
        return StyleFound(name="uer", evidence="tokenizer.json puts [CLS] and [SEP] around a text")
    return StyleFound(name=DEFAULT_STYLE, evidence="")


def recorded_names(directory: Path) -> dict[str, str]:
    """Return the pieces that a store's record names, as settings name them."""
    record = read_json(directory / RECORD) if (directory / RECORD).is_file() else {}
    return {
        key: value
        for key, value in record.items()
        if key.endswith("_token") and isinstance(value, str)
    }


def ids_in_config(
    directory: Path, settings: Mapping[str, Any], listed: Mapping[str, AddedToken]
) -> dict[str, str]:
    """Return the begin and end that config.json gives by their ids, as settings name them.

    Only where the tokenizer's own files name no end, and only added tokens: of the pieces of
    vocab.txt, configurations give wrong ids (those of GPT-2 in English, or zeros) too often.
    """
    if "eos" in named(settings) or (directory / STORE).is_file():
        return {}
    contents = {token.id: token.content for token in listed.values()}
    bert = {f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
    found = {}
    for role in ("bos", "eos"):
        index = _config(directory).get(f"{role}_token_id")
        content = contents.get(index) if type(index) is int else None
        if content is not None and content not in {*bert, *named(settings).values()}:
            found[f"{role}_token"] = content
    return found if "eos_token" in found else {}


def rows_in_config(directory: Path) -> int | None:
    """Return how many ids the model beside the tokenizer has, if its configuration is there."""
    rows = _config(directory).get("vocab_size")
    return rows if type(rows) is int else None


def _config(directory: Path) -> dict[str, Any]:
    return read_json(directory / CONFIG) if (directory / CONFIG).is_file() else {}


def _template(serialized: Mapping[str, Any]) -> tuple[object, object] | None:
    """Return the pieces that tokenizer.json puts before and behind a text."""
    after = serialized.get("post_processor")
    if not isinstance(after, dict):
        return None
    try:
        if after.get("type") == "BertProcessing":
            return after["cls"][0], after["sep"][0]
        first, _, last = (part.get("SpecialToken") for part in after["single"])
        return first["id"], last["id"]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None


def write_style(directory: Path, record: Mapping[str, str]) -> None:
    """Record a convention in a directory, with the pieces that it needs."""
    assert record[KEY] in STYLES
    (directory / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")

"""The text style of a model, as its files tell it, and the file of a store that records it.

Knows names of files and keys; does not know what a style means (`text_style`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.json_file import read_json
from cpm_lm.languages import tr
from cpm_lm.tokenizer.added_tokens import BERT, AddedToken, named
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
"""A file of the store that other tools ignore."""
KEY = "text_style"
STORE = "manifest.json"
"""Every store has it; a store without RECORD was written before the style was recorded."""
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class StyleFound:
    """The text style of a model, and how it is known."""

    name: str
    """One of STYLES."""
    evidence: str
    """How it is known, in words; empty if it is assumed."""


def find_style(
    directory: Path,
    settings: Mapping[str, Any],
    serialized: Mapping[str, Any],
    pieces: Collection[str],
    wanted: str | None,
) -> StyleFound:
    """Return the text style of the model in a directory.

    Args:
        directory: the directory of the tokenizer's files.
        settings: the tokenizer's settings.
        serialized: the content of tokenizer.json, empty if there is none.
        pieces: all pieces that have an id.
        wanted: the style that the caller chose, or None.

    Raises:
        TokenizerError: `wanted` or the recorded style is unknown.
    """
    if wanted is not None:
        style_named(wanted, tr("the text style"))
        return StyleFound(name=wanted, evidence=tr("given by the caller"))
    if (directory / RECORD).is_file():
        name = read_json(directory / RECORD, TokenizerError).get(KEY)
        style_named(name, tr("{key} in {directory}", key=KEY, directory=directory / RECORD))
        return StyleFound(name=str(name), evidence=tr("recorded in {record}", record=RECORD))
    if (directory / STORE).is_file():
        return StyleFound(name=DEFAULT_STYLE, evidence="")
    return _inferred(directory, settings, serialized, pieces)


def _inferred(
    directory: Path,
    settings: Mapping[str, Any],
    serialized: Mapping[str, Any],
    pieces: Collection[str],
) -> StyleFound:
    """Return the text style that the files of a published model tell.

    Its own eos_token has priority over the class: BertTokenizer adds [CLS] and [SEP] to every text,
    whatever the model was trained on.
    """
    names = {role: content for role, content in named(settings).items() if content in pieces}
    cls, sep = (names.get(role, BERT[role]) for role in ("cls", "sep"))
    end, begin = names.get("eos", sep), names.get("bos", cls)
    if (begin, end) != (cls, sep) and "eos" in names:
        begins = "bos" in names and settings.get("add_bos_token") is not False
        name = "bos-eos" if begins else "eos"
        return StyleFound(name=name, evidence=tr("eos_token is {end!a:.60}", end=end))
    config = _config(directory)
    for file, values in ((tr("the tokenizer's settings"), settings), (CONFIG, config)):
        kind = values.get("tokenizer_class")
        if isinstance(kind, str) and kind.startswith("BertTokenizer"):
            return StyleFound(
                name="uer",
                evidence=tr("tokenizer_class in {file} is {kind!a:.60}", file=file, kind=kind),
            )
    if "eos" in names:
        return StyleFound(name="uer", evidence=tr("eos_token is {end!a:.60}", end=end))
    if _template(serialized) == (cls, sep):
        return StyleFound(name="uer", evidence=tr("tokenizer.json adds [CLS] and [SEP] to a text"))
    return StyleFound(name=DEFAULT_STYLE, evidence="")


def recorded_names(directory: Path) -> dict[str, str]:
    """Return the special pieces that a store records, in the form of settings."""
    record = read_json(directory / RECORD, TokenizerError) if (directory / RECORD).is_file() else {}
    return {
        key: value
        for key, value in record.items()
        if key.endswith("_token") and isinstance(value, str)
    }


def ids_in_config(
    directory: Path, settings: Mapping[str, Any], listed: Mapping[str, AddedToken]
) -> dict[str, str]:
    """Return the bos_token and eos_token that config.json gives as ids, in the form of settings.

    Only if the tokenizer's own files have no eos_token, and only added tokens: for other pieces,
    configurations often have wrong ids (those of the English GPT-2, or zeros).
    """
    if "eos" in named(settings) or (directory / STORE).is_file():
        return {}
    contents = {token.id: token.content for token in listed.values()}
    config, known = _config(directory), {*BERT.values(), *named(settings).values()}
    found = {}
    for role in ("bos", "eos"):
        index = config.get(f"{role}_token_id")
        content = contents.get(index) if type(index) is int else None
        if content is not None and content not in known:
            found[f"{role}_token"] = content
    return found if "eos_token" in found else {}


def rows_in_config(directory: Path) -> int | None:
    """Return the vocabulary size in the model's configuration, or None if there is none."""
    rows = _config(directory).get("vocab_size")
    return rows if type(rows) is int else None


def _config(directory: Path) -> dict[str, Any]:
    return read_json(directory / CONFIG, TokenizerError) if (directory / CONFIG).is_file() else {}


def _template(serialized: Mapping[str, Any]) -> tuple[object, object] | None:
    """Return the pieces that tokenizer.json adds before and after a text."""
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
    """Write a text style and its special pieces into a directory."""
    assert record[KEY] in STYLES
    (directory / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")

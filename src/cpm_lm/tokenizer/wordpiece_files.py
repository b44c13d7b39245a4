"""The vocabulary files of models with BERT's word pieces: which pieces, and how a text is prepared.

Knows files and names; does not know how a text is cut. The files are `vocab.txt`, a piece in each
line, or the `tokenizer.json` that newer versions of Hugging Face's library write instead; and
`tokenizer_config.json`, if it is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.messages import what_is_there

__all__ = ["WordPieces", "read_wordpieces", "wordpiece_files"]

VOCAB = "vocab.txt"
TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"

CLASSES = ("BertTokenizer", "PreTrainedTokenizer", "Tokenizers")
"""Beginnings of what settings may call the tokenizer: BERT's, or a class that is no family."""
SPECIAL = {role: f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
REQUIRED = ("unk", "cls", "sep")


@dataclass(frozen=True, kw_only=True)
class WordPieces:
    """A vocabulary of word pieces."""

    pieces: tuple[str, ...]
    """By id; `##` begins what goes on within a word."""
    special: Mapping[str, int]
    """Ids of the special pieces by role: unk, cls, sep, and where there are such, pad and mask."""
    lowercase: bool
    strip_accents: bool | None
    """None: where letters are made lower-case."""
    split_han: bool
    """Whether every Chinese character is a word of its own."""


def wordpiece_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the files of such a vocabulary; empty: none is there."""
    if (directory / VOCAB).is_file():
        found = VOCAB
    elif (directory / TOKENIZER).is_file() and _model(_read(directory / TOKENIZER)) is not None:
        found = TOKENIZER
    else:
        return ()
    return (found, SETTINGS) if (directory / SETTINGS).is_file() else (found,)


def read_wordpieces(directory: Path) -> WordPieces:
    """Read the vocabulary in a directory.

    Raises:
        TokenizerError: files are missing, damaged, or of another kind.
    """
    files = wordpiece_files(directory)
    if not files:
        raise TokenizerError(f"no word pieces: {directory} has neither {VOCAB} nor {TOKENIZER}")
    settings = _read(directory / SETTINGS) if SETTINGS in files else {}
    if (kind := settings.get("tokenizer_class")) is not None and not (
        isinstance(kind, str) and kind.startswith(CLASSES)
    ):
        raise TokenizerError(
            f"{directory / SETTINGS} says {kind!a}; of the families with a {files[0]} only "
            "BERT's word pieces (BertTokenizer) are supported"
        )
    if files[0] == VOCAB:
        pieces = _lines(directory / VOCAB)
    else:
        pieces, found = _from_json(directory / TOKENIZER)
        settings = found | {k: v for k, v in settings.items() if k not in found}
    return WordPieces(
        pieces=pieces,
        special=_special(pieces, settings, directory),
        lowercase=_flag(settings, "do_lower_case", True, directory),
        strip_accents=_flag(settings, "strip_accents", None, directory),
        split_han=_flag(settings, "tokenize_chinese_chars", True, directory),
    )


def _lines(path: Path) -> tuple[str, ...]:
    if known := what_is_there(path):
        raise TokenizerError(f"{path} is {known}")
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(line.removesuffix("\n") for line in file)
    except (OSError, ValueError) as error:
        raise TokenizerError(f"cannot read {path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    if known := what_is_there(path):
        raise TokenizerError(f"{path} is {known}")
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"cannot read {path}: {error}") from None
    if not isinstance(values, dict):
        raise TokenizerError(f"{path} holds {type(values).__name__}, expected a JSON object")
    return values


def _model(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the model of a tokenizer.json if it is one of word pieces."""
    model = values.get("model")
    return model if isinstance(model, dict) and model.get("type") == "WordPiece" else None


def _from_json(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the pieces of a tokenizer.json, and its settings by their names elsewhere."""
    values = _read(path)
    model, before = _model(values) or {}, values.get("normalizer")
    splitter, added = values.get("pre_tokenizer"), values.get("added_tokens", [])
    kinds = [part.get("type") if isinstance(part, dict) else None for part in (before, splitter)]
    if kinds != ["BertNormalizer", "BertPreTokenizer"] or not isinstance(before, dict):
        raise TokenizerError(
            f"{path} prepares a text by {kinds[0]!a} and {kinds[1]!a}; expected BertNormalizer "
            "and BertPreTokenizer: it is not of BERT's kind"
        )
    if model.get("continuing_subword_prefix", "##") != "##":
        raise TokenizerError(f"{path} marks what goes on within a word otherwise than by '##'")
    try:
        ids = dict(model["vocab"]) | {token["content"]: token["id"] for token in added}
        if not all(type(p) is str and type(i) is int for p, i in ids.items()):
            raise ValueError
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise TokenizerError(f"{path} is damaged: expected ids from 0 on, each once") from None
    settings = {
        "do_lower_case": before.get("lowercase", True),
        "strip_accents": before.get("strip_accents"),
        "tokenize_chinese_chars": before.get("handle_chinese_chars", True),
    }
    return tuple(sorted(ids, key=ids.__getitem__)), settings


def _special(
    pieces: tuple[str, ...], settings: Mapping[str, Any], directory: Path
) -> dict[str, int]:
    """Return the ids of the special pieces, by the names that the settings or BERT give them."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    special = {}
    for role, name in SPECIAL.items():
        said = settings.get(f"{role}_token") or name
        if isinstance(said, dict):  # newer settings tell more of a piece than its name
            said = said.get("content")
        if isinstance(said, str) and said in ids:
            special[role] = ids[said]
        elif role in REQUIRED:
            raise TokenizerError(
                f"the vocabulary in {directory} has no piece {str(said)[:60]!a}; word pieces for "
                f"GPT need {', '.join(SPECIAL[needed] for needed in REQUIRED)}"
            )
    return special


def _flag(settings: Mapping[str, Any], name: str, default: Any, directory: Path) -> Any:
    value = settings.get(name, default)
    if value is not default and not isinstance(value, bool):
        raise TokenizerError(
            f"{directory / SETTINGS}: {name} is {str(value)[:60]!a}, expected true or false"
        )
    return value

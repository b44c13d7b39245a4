"""The vocabulary files of models with BERT's WordPiece: the pieces and the normalization.

Knows files and names; does not know how a text is split. The files are `vocab.txt`, one piece per
line, or `tokenizer.json`, which newer versions of Hugging Face's library write instead; and
optionally `tokenizer_config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError

__all__ = ["WordPieces", "read_wordpieces", "wordpiece_files"]

VOCAB = "vocab.txt"
TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"

CLASSES = ("BertTokenizer", "PreTrainedTokenizer", "Tokenizers")
"""Prefixes of supported class names in the settings: BERT's, or a class of no family."""
SPECIAL = {role: f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
REQUIRED = ("unk", "cls", "sep")


@dataclass(frozen=True, kw_only=True)
class WordPieces:
    """A vocabulary of word pieces."""

    pieces: tuple[str, ...]
    """The pieces by id; one that continues a word begins with `##`."""
    special: Mapping[str, int]
    """The ids of the special pieces by role: unk, cls, sep, and if present, pad and mask."""
    lowercase: bool
    strip_accents: bool | None
    """None for the value of `lowercase`."""
    split_han: bool
    """Whether every Chinese character is a single word."""


def wordpiece_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the vocabulary files; empty if there are none."""
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
    try:
        with path.open(encoding="utf-8") as file:
            return tuple(line.removesuffix("\n") for line in file)
    except (OSError, ValueError) as error:
        raise TokenizerError(f"cannot read {path}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError(f"cannot read {path}: {error}") from None
    if not isinstance(values, dict):
        raise TokenizerError(f"{path} holds {type(values).__name__}, expected a JSON object")
    return values


def _model(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the model of a tokenizer.json if it is WordPiece, else None."""
    model = values.get("model")
    return model if isinstance(model, dict) and model.get("type") == "WordPiece" else None


def _from_json(path: Path) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the pieces of a tokenizer.json, and its settings named as in tokenizer_config.json."""
    values = _read(path)
    model, normalizer = _model(values) or {}, values.get("normalizer")
    splitter, added = values.get("pre_tokenizer"), values.get("added_tokens", [])
    parts = (normalizer, splitter)
    kinds = [part.get("type") if isinstance(part, dict) else None for part in parts]
    if kinds != ["BertNormalizer", "BertPreTokenizer"] or not isinstance(normalizer, dict):
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
        "do_lower_case": normalizer.get("lowercase", True),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
    }
    return tuple(sorted(ids, key=ids.__getitem__)), settings


def _special(
    pieces: tuple[str, ...], settings: Mapping[str, Any], directory: Path
) -> dict[str, int]:
    """Return the ids of the special pieces by role; the settings or BERT name the pieces."""
    ids = {piece: i for i, piece in enumerate(pieces)}
    special = {}
    for role, default in SPECIAL.items():
        name = settings.get(f"{role}_token") or default
        if isinstance(name, dict):  # in newer settings, an object with the name as `content`
            name = name.get("content")
        if isinstance(name, str) and name in ids:
            special[role] = ids[name]
        elif role in REQUIRED:
            raise TokenizerError(
                f"the vocabulary in {directory} has no piece {str(name)[:60]!a}; word pieces for "
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

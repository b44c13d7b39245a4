"""The vocabulary files of models with BERT's WordPiece: the pieces and the normalization.

Knows files and names; does not know how a text is split. The files are `vocab.txt`, one piece per
line, or `tokenizer.json`, which newer versions of Hugging Face's library write instead; optionally
`tokenizer_config.json`; and those of added tokens (`added_tokens`) and of the text style
(`text_style_files`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.files import read_text
from cpm_lm.json_file import read_json
from cpm_lm.tokenizer.added_tokens import (
    ADDED,
    NAMES,
    AddedToken,
    listed_tokens,
    names_of,
)
from cpm_lm.tokenizer.text_style_files import (
    RECORD,
    StyleFound,
    find_style,
    ids_in_config,
    recorded_names,
    rows_in_config,
)
from cpm_lm.tokenizer.wordpiece_ids import special_ids, with_added

__all__ = ["WordPieces", "read_wordpieces", "wordpiece_files"]

VOCAB = "vocab.txt"
TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"

CLASSES = ("BertTokenizer", "PreTrainedTokenizer", "Tokenizers")
"""Prefixes of supported class names in the settings: BERT's, or a class of no family."""
SPEAKER = re.compile(r"[\[<]\|?speaker[ _-]?\d\|?[\]>]", re.IGNORECASE)
"""Special pieces that mark a speaker, in models that also add token types."""


@dataclass(frozen=True, kw_only=True)
class WordPieces:
    """A vocabulary of word pieces."""

    pieces: tuple[str, ...]
    """The pieces by id; one that continues a word begins with `##`."""
    lines: int
    """The number of the model's own pieces; those after them are added tokens."""
    added: tuple[AddedToken, ...]
    """Tokens that are matched before a text is split, by id."""
    special: Mapping[str, int]
    """The ids of the special pieces by role: unk, and if present, cls, sep, pad, mask, bos, eos."""
    style: StyleFound
    """The text style of the model."""
    lowercase: bool
    strip_accents: bool | None
    """None for the value of `lowercase`."""
    split_han: bool
    """Whether every Chinese character is a single word."""


def wordpiece_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the vocabulary files; empty if there are none."""
    beside = tuple(
        name for name in (SETTINGS, NAMES, ADDED, RECORD) if (directory / name).is_file()
    )
    serialized = (TOKENIZER,) if _serialized(directory) else ()
    if (directory / VOCAB).is_file():
        return (VOCAB, *serialized, *beside)
    return (*serialized, *beside) if serialized else ()


def read_wordpieces(directory: Path, text_style: str | None = None) -> WordPieces:
    """Read the vocabulary in a directory.

    Args:
        directory: where its files lie.
        text_style: one of STYLES; default: what the files say.

    Raises:
        TokenizerError: files are missing, damaged, or of another kind; or the model needs token
            types.
    """
    serialized = _serialized(directory)
    file = VOCAB if (directory / VOCAB).is_file() else TOKENIZER
    if file == TOKENIZER and not serialized:
        raise TokenizerError(
            "no word pieces: {directory} has neither {vocab} nor {tokenizer}",
            directory=directory,
            vocab=VOCAB,
            tokenizer=TOKENIZER,
        )
    own = directory / SETTINGS
    settings = names_of(read_json(own, TokenizerError) if own.is_file() else {}, directory)
    if (kind := settings.get("tokenizer_class")) is not None and not (
        isinstance(kind, str) and kind.startswith(CLASSES)
    ):
        raise TokenizerError(
            "{own} says {kind!a}; of the families with a {file} only BERT's word "
            "pieces (BertTokenizer) are supported",
            own=own,
            kind=kind,
            file=file,
        )
    listed = listed_tokens(directory, settings, serialized.get("added_tokens", []))
    if file == VOCAB:
        lines = _lines(directory / VOCAB)
    else:
        lines, found = _from_json(serialized, directory / TOKENIZER, listed)
        settings = found | {k: v for k, v in settings.items() if k not in found}
    settings |= recorded_names(directory) or ids_in_config(directory, settings, listed)
    pieces, added = with_added(lines, listed, settings, directory, rows_in_config(directory))
    _check_dialogue(pieces, directory)
    style = find_style(directory, settings, serialized, frozenset(pieces), text_style)
    return WordPieces(
        pieces=pieces,
        lines=len(lines),
        added=added,
        special=special_ids(pieces, len(lines), settings, style, directory),
        style=style,
        lowercase=_flag(settings, "do_lower_case", True, directory),
        strip_accents=_flag(settings, "strip_accents", None, directory),
        split_han=_flag(settings, "tokenize_chinese_chars", True, directory),
    )


def _lines(path: Path) -> tuple[str, ...]:
    text = read_text(path, TokenizerError).replace("\r\n", "\n").replace("\r", "\n")
    return tuple(text.removesuffix("\n").split("\n")) if text else ()


def _serialized(directory: Path) -> dict[str, Any]:
    """Return the content of tokenizer.json if its model is WordPiece, else an empty one."""
    if not (directory / TOKENIZER).is_file():
        return {}
    values = read_json(directory / TOKENIZER, TokenizerError)
    model = values.get("model")
    return values if isinstance(model, dict) and model.get("type") == "WordPiece" else {}


def _from_json(
    values: Mapping[str, Any], path: Path, listed: Mapping[str, AddedToken]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the pieces of a tokenizer.json, and its settings named as in tokenizer_config.json.

    Ids that its model does not have must be those of added tokens.
    """
    model, normalizer = values["model"], values.get("normalizer")
    parts = (normalizer, values.get("pre_tokenizer"))
    kinds = [part.get("type") if isinstance(part, dict) else None for part in parts]
    if kinds != ["BertNormalizer", "BertPreTokenizer"] or not isinstance(normalizer, dict):
        raise TokenizerError(
            "{path} prepares a text by {normalizer!a} and {splitter!a}; expected "
            "BertNormalizer and BertPreTokenizer: it is not of BERT's kind",
            path=path,
            normalizer=kinds[0],
            splitter=kinds[1],
        )
    if model.get("continuing_subword_prefix", "##") != "##":
        raise TokenizerError(
            "{path} marks what goes on within a word otherwise than by '##'", path=path
        )
    try:
        ids = dict(model["vocab"])
        if not all(type(p) is str and type(i) is int for p, i in ids.items()):
            raise ValueError
        end = max(ids.values()) + 1
        ids |= {token.content: token.id for token in listed.values() if token.id < end}
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise TokenizerError(
            "{path} is damaged: expected ids from 0 on, each once", path=path
        ) from None
    settings = {
        "do_lower_case": normalizer.get("lowercase", True),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": normalizer.get("handle_chinese_chars", True),
    }
    return tuple(sorted(ids, key=ids.__getitem__)), settings


def _check_dialogue(pieces: tuple[str, ...], directory: Path) -> None:
    if speakers := [piece for piece in pieces if SPEAKER.fullmatch(piece)]:
        raise TokenizerError(
            "the vocabulary in {directory} has {speakers}: it is of a dialogue model "
            "such as CDial-GPT, which adds the embedding of the speaker "
            "(token_type_ids) to every token; token types are not supported, and "
            "without them its text would be wrong",
            directory=directory,
            speakers=", ".join(speakers[:4]),
        )


def _flag(settings: Mapping[str, Any], name: str, default: Any, directory: Path) -> Any:
    value = settings.get(name, default)
    if value is not default and not isinstance(value, bool):
        raise TokenizerError(
            "{directory}: {name} is {value!a}, expected true or false",
            directory=directory / SETTINGS,
            name=name,
            value=str(value)[:60],
        )
    return value

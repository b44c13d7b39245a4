"""The vocabulary files of CPM and similar models: the pieces and the text of each.

Knows files, pieces and the marks of words, spaces and newlines; does not know how a text is split
into words and pieces.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.files import TEXT_LIMIT, read_limited
from cpm_lm.json_file import parse_json
from cpm_lm.messages import unreadable_kind

__all__ = ["model_file", "read_vocabulary", "text_of", "vocabulary_files"]

MODEL_FILE = "chinese_vocab.model"
MODEL_FILES = (MODEL_FILE, "spiece.model")
"""The second is the name of the same file in copies for Hugging Face's library."""
VOCAB_FILE = "vocab.json"

WORD_MARK = "▁"  # U+2581: the beginning of a word
SPACE = "▂"  # U+2582
NEWLINE = "▃"  # U+2583
UNKNOWN = "<unk>"
PAD = "<pad>"
END = "<eod>"
CONTROLS = frozenset(["<s>", "</s>", "<cls>", "<sep>", PAD, "<mask>", END])
"""Pieces without text. Some models declare them as control pieces, others as normal pieces."""


def model_file(directory: Path) -> str | None:
    """Return the name of the SentencePiece model in a directory, or None."""
    return next((name for name in MODEL_FILES if (directory / name).is_file()), None)


def vocabulary_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the vocabulary files; empty if there are none."""
    if (model := model_file(directory)) is None:
        return ()
    return (model, VOCAB_FILE) if (directory / VOCAB_FILE).is_file() else (model,)


def read_vocabulary(directory: Path) -> tuple[Any, dict[str, int]]:
    """Return the SentencePiece model in a directory, and the id of each piece.

    The ids are those of `vocab.json` if there is one, else the model's own; 0 to V - 1, each once.

    Raises:
        TokenizerError: files are missing, damaged, or do not fit together.
    """
    file = directory / (model_file(directory) or MODEL_FILE)
    model = _read_model(file)
    vocab = _model_vocab(model, file)
    if (path := directory / VOCAB_FILE).is_file():
        vocab = _read_vocab(path, vocab)
    for piece in (UNKNOWN, NEWLINE, END):
        if piece not in vocab:
            raise TokenizerError(
                f"the vocabulary in {directory} has no piece {piece!r}; CPM's and its kind do"
            )
    return model, vocab


def text_of(piece: str) -> str:
    """Return the text of a piece that is not a control piece."""
    if piece == UNKNOWN:
        return "⁇"
    return piece.replace(WORD_MARK, "").replace(SPACE, " ").replace(NEWLINE, "\n")


def _read_model(path: Path) -> Any:
    from sentencepiece import SentencePieceProcessor

    if not path.exists():
        raise TokenizerError(
            f"no vocabulary: there is no {path}; put CPM's {MODEL_FILE} and {VOCAB_FILE} there"
        )
    data = read_limited(path, TEXT_LIMIT, TokenizerError)
    if known := unreadable_kind(data[:512]):
        raise TokenizerError(f"{path} is {known}")
    try:
        if not data:  # the library treats empty bytes as a missing argument
            raise ValueError
        return SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError):
        raise TokenizerError(
            f"{path} ({len(data)} bytes) is not a SentencePiece model; copy it again"
        ) from None


def _model_vocab(model: Any, path: Path) -> dict[str, int]:
    """Return the model's own id of each piece.

    The older of CPM's two models has no newline piece; its id 3 is a control piece `<cls>`. The
    network was trained with id 3 as the newline, and the vocab.json of that model names it `▃`.
    """
    vocab: dict[str, int] = {}
    for index in range(model.get_piece_size()):
        try:
            piece = model.id_to_piece(index)
        except UnicodeDecodeError:
            raise TokenizerError(
                f"{path} is damaged: its piece {index} is not text in UTF-8; copy it again"
            ) from None
        if not math.isfinite(model.get_score(index)):
            raise TokenizerError(
                f"{path} is damaged: the score of its piece {index}, {piece[:60]!a}, is not a "
                "finite number; copy it again"
            )
        if piece in vocab:
            raise TokenizerError(
                f"{path} is damaged: its pieces {vocab[piece]} and {index} are both "
                f"{piece[:60]!a}; copy it again"
            )
        # `encode` needs that no piece spans words, `decode` that every id has its own text.
        if model.is_byte(index) or WORD_MARK in piece[1:]:
            raise TokenizerError(
                f"{path} is not of CPM's kind: its piece {index}, {piece[:60]!r}, "
                f"{'is a byte' if model.is_byte(index) else 'reaches across words'}"
            )
        vocab[piece] = index
    if NEWLINE not in vocab and "<cls>" in vocab:
        vocab[NEWLINE] = vocab.pop("<cls>")
    return vocab


def _read_vocab(path: Path, own: dict[str, int]) -> dict[str, int]:
    """Return the id of each piece in a vocab.json, checked against the model's `own` pieces."""
    vocab = parse_json(path, TokenizerError)
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise TokenizerError(f"{path} is not a vocabulary; an object of ids by piece was expected")
    if sorted(vocab.values()) != list(range(len(own))):
        raise TokenizerError(
            f"{path} does not fit {MODEL_FILE} beside it: it has {len(vocab)} ids; "
            f"each of 0 to {len(own) - 1}, once, was expected"
        )
    if missing := [piece for piece in own if piece not in vocab and piece not in CONTROLS]:
        raise TokenizerError(
            f"{path} does not fit {MODEL_FILE} beside it: {len(missing)} of the model's pieces "
            f"are not in it, the first is {missing[0][:60]!r}"
        )
    return vocab

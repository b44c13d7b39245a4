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
from cpm_lm.languages import tr
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
                "the vocabulary in {directory} has no piece {piece!r}; CPM's and its kind do",
                directory=directory,
                piece=piece,
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
            "no vocabulary: there is no {path}; put CPM's {model_file} and {vocab_file} there",
            path=path,
            model_file=MODEL_FILE,
            vocab_file=VOCAB_FILE,
        )
    data = read_limited(path, TEXT_LIMIT, TokenizerError)
    if known := unreadable_kind(data[:512]):
        raise TokenizerError("{path} is {known}", path=path, known=known)
    try:
        if not data:  # the library treats empty bytes as a missing argument
            raise ValueError
        return SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError):
        raise TokenizerError(
            "{path} ({n_data} bytes) is not a SentencePiece model; copy it again",
            path=path,
            n_data=len(data),
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
                "{path} is damaged: its piece {index} is not text in UTF-8; copy it again",
                path=path,
                index=index,
            ) from None
        if not math.isfinite(model.get_score(index)):
            raise TokenizerError(
                "{path} is damaged: the score of its piece {index}, {piece!a}, is not a "
                "finite number; copy it again",
                path=path,
                index=index,
                piece=piece[:60],
            )
        if piece in vocab:
            raise TokenizerError(
                "{path} is damaged: its pieces {vocab} and {index} are both {piece!a}; "
                "copy it again",
                path=path,
                vocab=vocab[piece],
                index=index,
                piece=piece[:60],
            )
        # `encode` needs that no piece spans words, `decode` that every id has its own text.
        if model.is_byte(index) or WORD_MARK in piece[1:]:
            raise TokenizerError(
                "{path} is not of CPM's kind: its piece {index}, {piece!r}, {value}",
                path=path,
                index=index,
                piece=piece[:60],
                value=tr("is a byte") if model.is_byte(index) else tr("reaches across words"),
            )
        vocab[piece] = index
    if NEWLINE not in vocab and "<cls>" in vocab:
        vocab[NEWLINE] = vocab.pop("<cls>")
    return vocab


def _read_vocab(path: Path, own: dict[str, int]) -> dict[str, int]:
    """Return the id of each piece in a vocab.json, checked against the model's `own` pieces."""
    vocab = parse_json(path, TokenizerError)
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise TokenizerError(
            "{path} is not a vocabulary; an object of ids by piece was expected", path=path
        )
    if sorted(vocab.values()) != list(range(len(own))):
        raise TokenizerError(
            "{path} does not fit {model_file} beside it: it has {n_vocab} ids; each "
            "of 0 to {n_own}, once, was expected",
            path=path,
            model_file=MODEL_FILE,
            n_vocab=len(vocab),
            n_own=len(own) - 1,
        )
    if missing := [piece for piece in own if piece not in vocab and piece not in CONTROLS]:
        raise TokenizerError(
            "{path} does not fit {model_file} beside it: {n_missing} of the model's "
            "pieces are not in it, the first is {missing!r}",
            path=path,
            model_file=MODEL_FILE,
            n_missing=len(missing),
            missing=missing[0][:60],
        )
    return vocab

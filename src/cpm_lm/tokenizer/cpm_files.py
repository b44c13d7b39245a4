"""The vocabulary files of CPM and its kind: which pieces there are, and what each stands for.

Knows files and pieces; does not know words or how a text is cut. Of interest to the tokenizer
only: no other module needs to know how a vocabulary marks a word, a space or a line end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.messages import unreadable_kind, what_is_there

__all__ = ["model_file", "read_vocabulary", "text_of", "vocabulary_files"]

MODEL_FILE = "chinese_vocab.model"
MODEL_FILES = (MODEL_FILE, "spiece.model")
"""The second is what the same file is called in copies for Hugging Face's library."""
VOCAB_FILE = "vocab.json"

MARK = "▁"  # U+2581: a word begins here
SPACE = "▂"  # U+2582
NEWLINE = "▃"  # U+2583
UNKNOWN = "<unk>"
PAD = "<pad>"
END = "<eod>"
CONTROLS = frozenset(["<s>", "</s>", "<cls>", "<sep>", PAD, "<mask>", END])
"""Pieces that stand for no text. Some models declare them as such, others as ordinary pieces."""


def model_file(directory: Path) -> str | None:
    """Return the name of the sentencepiece model in a directory, if one is there."""
    return next((name for name in MODEL_FILES if (directory / name).is_file()), None)


def vocabulary_files(directory: Path) -> tuple[str, ...]:
    """Return the names of the files of such a vocabulary; empty: none is there."""
    if (model := model_file(directory)) is None:
        return ()
    return (model, VOCAB_FILE) if (directory / VOCAB_FILE).is_file() else (model,)


def read_vocabulary(directory: Path) -> tuple[Any, dict[str, int]]:
    """Return the sentencepiece model in a directory and the ids by piece.

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
    """Return what a piece that is no control piece stands for in a text."""
    if piece == UNKNOWN:
        return "⁇"
    return piece.replace(MARK, "").replace(SPACE, " ").replace(NEWLINE, "\n")


def _read_model(path: Path) -> Any:
    from sentencepiece import SentencePieceProcessor

    try:
        data = path.read_bytes()
    except OSError as error:
        raise TokenizerError(
            f"no vocabulary: cannot read {path} ({error.strerror}); "
            f"put CPM's {MODEL_FILE} and {VOCAB_FILE} there"
        ) from None
    if known := unreadable_kind(data[:512]):
        raise TokenizerError(f"{path} is {known}")
    try:
        if not data:  # which the library takes for no argument at all
            raise ValueError
        return SentencePieceProcessor(model_proto=data)
    except (RuntimeError, ValueError):
        raise TokenizerError(
            f"{path} ({len(data)} bytes) is not a SentencePiece model; copy it again"
        ) from None


def _model_vocab(model: Any, path: Path) -> dict[str, int]:
    """Return the model's own ids by piece.

    In the older of CPM's two models line ends have no piece, and their id, 3, is a control
    piece named `<cls>`, which the network never saw: its own vocab.json calls that id `▃`.
    """
    vocab: dict[str, int] = {}
    for index in range(model.get_piece_size()):
        piece = model.id_to_piece(index)
        # Both would break the rule that every word and every id stands for itself.
        if model.is_byte(index) or MARK in piece[1:]:
            raise TokenizerError(
                f"{path} is not of CPM's kind: its piece {index}, {piece!r}, "
                f"{'is a byte' if model.is_byte(index) else 'reaches across words'}"
            )
        vocab[piece] = index
    if NEWLINE not in vocab and "<cls>" in vocab:
        vocab[NEWLINE] = vocab.pop("<cls>")
    return vocab


def _read_vocab(path: Path, own: dict[str, int]) -> dict[str, int]:
    """Return the ids by piece of a vocab.json, checked against the model's `own` pieces."""
    if known := what_is_there(path):
        raise TokenizerError(f"{path} is {known}")
    try:
        vocab = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TokenizerError(f"cannot read {path}: {error}") from None
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
            f"are not in it, the first is {missing[0]!r}"
        )
    return vocab

"""Vocabularies of families that are not supported: what their files are.

Knows names of files, and of a tokenizer.json its type; does not read a vocabulary.
"""

from __future__ import annotations

from pathlib import Path

from cpm_lm.errors import TokenizerError
from cpm_lm.json_file import parse_json
from cpm_lm.languages import later, tr

__all__ = ["unsupported"]

GPT2 = later("GPT-2's byte-level BPE")
TYPES = {
    "BPE": later("GPT-2's byte-level BPE or another BPE"),
    "Unigram": later("a SentencePiece vocabulary as tokenizer.json alone"),
    "WordLevel": later("a vocabulary of whole words"),
}
"""What a tokenizer.json says its model is."""
FILES = {
    "merges.txt": GPT2,
    "encoder.json": GPT2,
    "vocab.bpe": GPT2,
    "tokenizer.model": later("a SentencePiece vocabulary of another kind"),
    "sentencepiece.bpe.model": later("a SentencePiece vocabulary of another kind"),
    "cpm_ant.txt": later("that of CPM-Ant"),
    "ice_text.model": later("that of GLM"),
}


def unsupported(directory: Path) -> str | None:
    """Say what vocabulary the files in a directory are of, with the file's name; None: of none."""
    for name, what in FILES.items():
        if (directory / name).is_file():
            return tr("{what} ({name}), which is not supported", what=tr(what), name=name)
    path = directory / "tokenizer.json"
    try:
        values = parse_json(path, TokenizerError)
    except TokenizerError:
        return None
    model = values.get("model", {}) if isinstance(values, dict) else {}
    if not isinstance(model, dict):
        return None
    kind = model.get("type", "BPE" if "merges" in model else None)
    return (
        tr("{what} ({name}), which is not supported", what=tr(TYPES[kind]), name=path.name)
        if isinstance(kind, str) and kind in TYPES
        else None
    )

"""A small vocabulary of BERT's word pieces, written for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHARACTERS = "今天气不错我们去公园散步的空很蓝中国首都是北京，。！？：、“”(),.:!?-1234567890"
WORDS = "hello world gpt the a b c naive cafe и да か"
WITHIN = "ing s ed ##x 1 2 3 4 5 6 7 8 9 0 天 l o w か да"
PIECES = [*SPECIAL, *CHARACTERS, *WORDS.split(), *(f"##{part}" for part in WITHIN.split())]


def write_pieces(directory: Path, pieces: list[str] = PIECES, **settings: Any) -> Path:
    """Write `vocab.txt`, and `tokenizer_config.json` if there are settings."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), "utf-8")
    if settings:
        (directory / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return directory

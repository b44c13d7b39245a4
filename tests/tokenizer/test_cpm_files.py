"""CPM's vocabulary files: which are found, and errors for those that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.cpm_files import read_vocabulary
from tests.support.tiny_vocabulary import train


def write_vocab(directory: Path, vocab: Any) -> None:
    (directory / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")


def test_the_files_of_a_vocabulary(tmp_path: Path) -> None:
    assert Tokenizer.files(tmp_path) == Tokenizer.files(tmp_path / "none") == ()
    write_vocab(tmp_path, {})  # GPT-2 has a vocab.json too
    assert Tokenizer.files(tmp_path) == ()
    train(tmp_path)
    assert Tokenizer.files(str(tmp_path)) == ("chinese_vocab.model", "vocab.json")
    (tmp_path / "vocab.json").unlink()
    assert Tokenizer.files(tmp_path) == ("chinese_vocab.model",)


def test_ids_are_those_of_vocab_json(tmp_path: Path) -> None:
    _, own = read_vocabulary(train(tmp_path))
    write_vocab(tmp_path, {piece: len(own) - 1 - i for piece, i in own.items()})
    tokenizer = Tokenizer.load(tmp_path)
    text = "今天天气不错\n"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.end_ids == {len(own) - 1 - own["<eod>"]}


@pytest.mark.parametrize("named", [False, True], ids=["model only", "vocab.json"])
def test_the_line_end_of_the_older_model(tmp_path: Path, named: bool) -> None:
    """Its id 3 is the control piece `<cls>`, so that with its own ids every line end is unknown."""
    train(tmp_path, control_symbols="<cls>", user_defined_symbols="<sep>,<pad>,<mask>,<eod>")
    model, own = read_vocabulary(tmp_path)
    assert model.encode("▃") == [model.piece_to_id("▁"), 0]
    if named:
        write_vocab(tmp_path, own)
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.encode("\n") == [model.piece_to_id("▁"), 3]
    assert tokenizer.decode([3]) == "\n"
    assert 3 not in tokenizer.encode("<cls>▃")


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x0a", bytes(1000)])
def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "chinese_vocab.model").write_bytes(data)
    with pytest.raises(TokenizerError, match="is not a SentencePiece model") as raised:
        Tokenizer.load(tmp_path)
    assert one_line(raised.value)


def test_a_missing_model_is_refused(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        with pytest.raises(
            TokenizerError, match=r"no vocabulary: .*chinese_vocab\.model"
        ) as raised:
            Tokenizer.load(directory)
        assert one_line(raised.value)


def test_a_truncated_model_is_refused(tmp_path: Path) -> None:
    path = train(tmp_path) / "chinese_vocab.model"
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(TokenizerError) as raised:
        Tokenizer.load(tmp_path)
    assert one_line(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"byte_fallback": True, "vocab_size": 600}, "'<0x00>', is a byte"),
        ({"user_defined_symbols": "▃,<eod>,今▁天"}, "'今▁天', reaches across words"),
        ({"user_defined_symbols": "▃,<sep>"}, "has no piece '<eod>'"),
        ({"user_defined_symbols": "<sep>,<eod>"}, "has no piece '▃'"),
    ],
)
def test_a_model_of_another_kind_is_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TokenizerError, match=message) as raised:
        Tokenizer.load(train(tmp_path, **settings))
    assert one_line(raised.value)


def renamed(own: dict[str, int]) -> dict[str, int]:
    return {("龘" if piece == "▁今天" else piece): i for piece, i in own.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: [*own], "an object of ids by piece was expected"),
        (lambda own: {**own, "龘": "9"}, "an object of ids by piece was expected"),
        (lambda own: {**own, "龘": len(own)}, r"does not fit .* it has \d+ ids"),
        (lambda own: {**own, "<sep>": 0}, r"does not fit .* it has \d+ ids"),
        (lambda own: {}, "does not fit .* it has 0 ids"),
        (renamed, "does not fit .* 1 of the model's pieces .* '▁今天'"),
    ],
)
def test_a_vocab_json_that_does_not_match_is_refused(
    tmp_path: Path, change: Callable[[dict[str, int]], Any], message: str
) -> None:
    _, own = read_vocabulary(train(tmp_path))
    write_vocab(tmp_path, change(own))
    with pytest.raises(TokenizerError, match=message) as raised:
        Tokenizer.load(tmp_path)
    assert one_line(raised.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\xff", b"[" * 100_000],
    ids=["empty", "cut", "not UTF-8", "nested"],
)
def test_a_vocab_json_that_is_not_json_is_refused(tmp_path: Path, data: bytes) -> None:
    (train(tmp_path) / "vocab.json").write_bytes(data)
    with pytest.raises(TokenizerError, match=r"vocab\.json") as raised:
        Tokenizer.load(tmp_path)
    assert one_line(raised.value)


def one_line(error: Exception) -> bool:
    return "\n" not in str(error)

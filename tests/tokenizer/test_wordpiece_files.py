"""BERT's vocabulary files: which are found, and errors for those that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import BertTokenizer

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer import Tokenizer
from tests.support.tiny_bert import PIECES, write_pieces
from tests.support.tiny_vocabulary import train


def test_the_files_of_a_vocabulary(tmp_path: Path) -> None:
    write_pieces(tmp_path)
    assert Tokenizer.files(tmp_path) == ("vocab.txt",)
    write_pieces(tmp_path, do_lower_case=True)
    assert Tokenizer.files(tmp_path) == ("vocab.txt", "tokenizer_config.json")
    train(tmp_path)  # CPM's files have priority: a model has one vocabulary
    assert Tokenizer.files(tmp_path) == ("chinese_vocab.model",)


@pytest.mark.parametrize("lower", [True, False])
def test_a_tokenizer_json_of_newer_versions_is_read(tmp_path: Path, lower: bool) -> None:
    write_pieces(tmp_path / "old", do_lower_case=lower)
    theirs = BertTokenizer.from_pretrained(tmp_path / "old")
    theirs.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new" / "vocab.txt").exists()  # otherwise vocab.txt would be read
    assert Tokenizer.files(tmp_path / "new") == ("tokenizer.json", "tokenizer_config.json")
    old, new = Tokenizer.load(tmp_path / "old"), Tokenizer.load(tmp_path / "new")
    assert (old.vocab_size, old.end_ids, old.prefix_ids) == (
        new.vocab_size,
        new.end_ids,
        new.prefix_ids,
    )
    text = "Hello 今天天气不错, Cafés 2024"
    assert new.encode(text) == old.encode(text) == theirs.encode(text, add_special_tokens=False)


def test_a_tokenizer_json_of_another_kind_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    assert Tokenizer.files(tmp_path) == ()
    with pytest.raises(TokenizerError, match=r"no vocabulary .* GPT-2's byte-level BPE"):
        Tokenizer.load(tmp_path)


def test_a_piece_that_occurs_twice_keeps_its_last_id(tmp_path: Path) -> None:
    write_pieces(tmp_path, [*PIECES, "天"])
    ours, theirs = Tokenizer.load(tmp_path), BertTokenizer.from_pretrained(tmp_path)
    assert ours.vocab_size == len(PIECES) + 1
    assert ours.encode("天") == theirs.encode("天", add_special_tokens=False) == [len(PIECES)]
    assert ours.decode([PIECES.index("天")]) == "天"


def test_lines_may_end_with_crlf(tmp_path: Path) -> None:
    write_pieces(tmp_path)
    path = tmp_path / "vocab.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert Tokenizer.load(tmp_path).vocab_size == len(PIECES)
    assert Tokenizer.load(tmp_path).encode("天") == [PIECES.index("天")]


@pytest.mark.parametrize("missing", ["[UNK]", "[CLS]", "[SEP]"])
def test_a_missing_special_piece_is_refused(tmp_path: Path, missing: str) -> None:
    write_pieces(tmp_path, [piece for piece in PIECES if piece != missing])
    message = rf"no piece '\{missing[:-1]}\]'"
    with pytest.raises(TokenizerError, match=message) as raised:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer_class": "XLNetTokenizer"}, "only BERT's word pieces"),
        ({"tokenizer_class": 7}, "only BERT's word pieces"),
        ({"do_lower_case": "yes"}, "do_lower_case is 'yes', expected true or false"),
        ({"cls_token": "<s>"}, "no piece '<s>'"),
        ({"cls_token": {"content": 3}}, "no piece '3'"),
    ],
)
def test_unsupported_settings_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    write_pieces(tmp_path, **settings)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("data", [b"[]", b"{", b"\xff\xfe", b"", b"[" * 100_000])
def test_damaged_settings_are_refused(tmp_path: Path, data: bytes) -> None:
    write_pieces(tmp_path)
    (tmp_path / "tokenizer_config.json").write_bytes(data)
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"nothing special\n"])
def test_damaged_lines_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "vocab.txt").write_bytes(data)
    with pytest.raises(TokenizerError, match="vocab"):
        Tokenizer.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": None}, "not of BERT's kind"),
        ({"pre_tokenizer": {"type": "Metaspace"}}, "not of BERT's kind"),
        ({"model": {"type": "WordPiece", "vocab": {"a": 1}}}, "is damaged"),
        ({"model": {"type": "WordPiece", "vocab": ["a"]}}, "is damaged"),
        ({"model": {"type": "WordPiece", "continuing_subword_prefix": "@"}}, "otherwise than"),
        ({"added_tokens": [{"id": 0, "content": "x"}]}, "is damaged"),
        ({"added_tokens": 7}, "is damaged"),
    ],
)
def test_an_unsupported_tokenizer_json_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    write_pieces(tmp_path / "old")
    BertTokenizer.from_pretrained(tmp_path / "old").save_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)

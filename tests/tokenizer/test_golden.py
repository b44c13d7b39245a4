"""The two versions of CPM's vocabulary: published ids, and edge cases of the original code."""

from __future__ import annotations

import json
import random
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.cpm import CPMTokenizer
from cpm_lm.tokenizer.words import words

pytestmark = pytest.mark.data

VERSIONS = ["cpm-1-generate", "cpm-lm-tf2"]
load = cache(Tokenizer.load)


@pytest.fixture(scope="module", params=[f"{v}{k}" for v in VERSIONS for k in ("", " model only")])
def tokenizer(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Tokenizer:
    """Both versions, each with and without its vocab.json."""
    version, _, alone = request.param.partition(" ")
    if not alone:
        return load(shared_data / "vocab" / version)
    directory = tmp_path_factory.mktemp(version)
    shutil.copy(shared_data / "vocab" / version / "chinese_vocab.model", directory)
    return Tokenizer.load(directory)


def read(shared_data: Path, name: str) -> Any:
    return json.loads((shared_data / "golden" / name).read_text(encoding="utf-8"))


def test_published_ids(tokenizer: Tokenizer, shared_data: Path) -> None:
    golden = read(shared_data, "token_ids.json")
    assert len(golden["encode"]) == 7
    assert len(golden["decode"]) == 4
    for case in golden["encode"]:
        assert tokenizer.encode(case["text"]) == case["ids"]
        assert tokenizer.decode(case["ids"]) == case["cpm1_decode"]
    for case in golden["decode"]:
        assert tokenizer.decode(case["ids"]) == case["cpm1_decode"]


def test_edge_cases(tokenizer: Tokenizer, shared_data: Path) -> None:
    cases = read(shared_data, "tokenizer_matrix_computed.json")["cases"]
    assert len(cases) == 43
    for case in cases:
        text, ids = case["text"], case["ids"]
        assert tokenizer.encode(text) == ids == case["tf2_ids"]
        assert tokenizer.decode(ids) == tokenizer.normalize(text) == case["cpm1_decode"]
        assert (tokenizer.normalize(text) == text) is case["roundtrip_cpm1"]
        assert tokenizer.unknown_count(ids) == ids.count(0)


def test_the_vocabulary(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 30000
    assert tokenizer.end_ids == {7}
    shown = [tokenizer.piece(i) for i in range(11)]
    assert shown == [
        *("<unk>", "<s>", "</s>", "\n", "<sep>", "<pad>", "<mask>", "<eod>", "▁", ",", " ")
    ]
    assert tokenizer.decode(range(9)) == "⁇\n"


def test_the_name_of_a_special_piece_in_a_text_is_text(tokenizer: Tokenizer) -> None:
    for name in "<s> </s> <cls> <sep> <pad> <mask> <eod>".split():
        assert tokenizer.normalize(name) == name
        assert min(tokenizer.encode(name)) >= 8
    assert tokenizer.encode("▃") == [8, 0]


@given(ids=st.lists(st.integers(0, 29999), max_size=60))
def test_decoding_equals_the_originals(shared_data: Path, ids: list[int]) -> None:
    """The original decodes with sentencepiece and then replaces the marks."""
    tokenizer = load(shared_data / "vocab" / "cpm-1-generate")
    assert isinstance(tokenizer, CPMTokenizer)
    ids = [i for i in ids if i != 7]  # in the original `<eod>` is text
    text = tokenizer._model.decode(ids).replace(" ", "")
    assert tokenizer.decode(ids) == text.replace("▂", " ").replace("▃", "\n")
    decoder = tokenizer.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.flush() == tokenizer.decode(ids)


def test_prose_encodes_as_the_original_does(shared_data: Path) -> None:
    tokenizer = load(shared_data / "vocab" / "cpm-1-generate")
    assert isinstance(tokenizer, CPMTokenizer)
    marked = str.maketrans(" \n", "▂▃")
    draw = random.Random(1)
    for path in draw.sample(sorted((shared_data / "corpus").rglob("*.txt")), 12):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        start = draw.randrange(len(lines))
        text = "".join(lines[start : start + 60])[:4000]
        joined = " ".join(word.translate(marked) for word in words(text))
        assert tokenizer.encode(text) == tokenizer._model.encode(joined)


def test_the_end_of_a_long_text_is_encoded_like_its_beginning(shared_data: Path) -> None:
    """If a text is encoded in one call, its score grows until float32 cannot resolve differences.

    For `命`, which has two segmentations of almost equal scores, that happens after
    9,000 pieces.
    """
    tokenizer = load(shared_data / "vocab" / "cpm-1-generate")
    text = "问题：中国首都是哪里？答案：北京。可惜，命，现在布克赛季报销。"
    assert tokenizer.encode(text * 400) == tokenizer.encode(text) * 400

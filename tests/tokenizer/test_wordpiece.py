"""BERT's word pieces: ids equal Hugging Face's, and decoding restores the spaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from cpm_lm.errors import RequestError
from cpm_lm.installation import pip_install
from cpm_lm.tokenizer import Tokenizer
from tests.support.tiny_bert import CHARACTERS, PIECES, write_pieces

UNK, CLS, SEP, MASK = (PIECES.index(f"[{name}]") for name in ("UNK", "CLS", "SEP", "MASK"))
TEXTS = [
    "今天天气不错，我们去公园散步。",
    "Hello WORLDs, hello worlds",
    "  今天\thello\n\n中国 2024 ",
    "[CLS] [SEP] [MASK] [UNK] [PAD]",
    "Café naïve ÉCOLE",
    "龘 rare 字",
    "hello" * 30,
    "か да и",
    "\u0000\ufffd\u200bа\u3000b",
    "GPT-2：北京(中国)!",
    "",
]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pieces(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory)


def ids_of(tokenizer: Tokenizer, *pieces: str) -> list[int]:
    return [PIECES.index(piece) for piece in pieces]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
    ],
    ids=str,
)
def test_ids_equal_hugging_faces(tmp_path: Path, settings: dict[str, Any]) -> None:
    write_pieces(tmp_path, tokenizer_class="BertTokenizer", **settings)
    ours, theirs = Tokenizer.load(tmp_path), BertTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        if "[" not in text:  # theirs reads the name of a special piece as that piece
            assert ours.encode(text) == theirs.encode(text, add_special_tokens=False), text
    around = theirs.encode("今天")
    assert around == [*ours.prefix_ids, *ours.encode("今天"), *ours.end_ids]
    assert (ours.vocab_size, ours.pad_id) == (len(theirs), theirs.pad_token_id)


def test_no_text_gives_a_special_piece(tokenizer: Tokenizer) -> None:
    found = tokenizer.encode("[CLS][SEP] [MASK] [PAD]今")
    assert not {CLS, SEP, MASK, 0} & set(found)
    assert found.count(PIECES.index("今")) == 1


def test_a_special_piece_without_brackets_is_not_a_word(tmp_path: Path) -> None:
    write_pieces(tmp_path, [*PIECES, "bos", "eos"], cls_token="bos", sep_token={"content": "eos"})
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.prefix_ids == (len(PIECES),)
    assert tokenizer.end_ids == {len(PIECES) + 1}
    assert tokenizer.encode("bos 今 eos") == [UNK, PIECES.index("今"), UNK]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天天气不错，我们去公园散步。", None),
        ("Hello worlds", "hello worlds"),
        ("今天 hello world 天", "今天hello world天"),
        ("hello, world", "hello,world"),
        ("1 2", None),
        ("12", None),
        ("да и か", None),
        ("今天\n\n中国", "今天中国"),
        ("a 龘 b", "a⁇b"),
        ("hello天", None),
    ],
)
def test_encode_then_decode(tokenizer: Tokenizer, text: str, expected: str | None) -> None:
    found = tokenizer.decode(tokenizer.encode(text))
    assert found == (text if expected is None else expected)
    assert tokenizer.normalize(found.replace("⁇", "龘")) == found


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("Hello  World", "hello world"),
        ("S", "s"),  # a part of a word, not a piece
        ("elloworl", "elloworl"),
        ("公 园\n散步", "公园散步"),
        ("龘", ""),
        ("\n", ""),
        ("⁇", ""),
    ],
)
def test_stop_strings_are_normalized_like_decoded_text(
    tokenizer: Tokenizer, stop: str, expected: str
) -> None:
    assert tokenizer.as_generated(stop) == expected


def test_special_pieces_have_no_text_and_add_no_space(tokenizer: Tokenizer) -> None:
    hello, world, ing = ids_of(tokenizer, "hello", "world", "##ing")
    assert tokenizer.decode([CLS, hello, SEP, MASK, 0, world]) == "hello world"
    assert tokenizer.decode([ing, CLS, ing]) == "inging"
    assert [tokenizer.piece(i) for i in (CLS, UNK, ing)] == ["[CLS]", "[UNK]", "##ing"]
    assert tokenizer.unknown_count([UNK, hello, UNK]) == 2


def test_a_continuation_begins_with_the_space_it_needs(tokenizer: Tokenizer) -> None:
    hello, world, ing, han = ids_of(tokenizer, "hello", "world", "##ing", "今")

    def first(after: list[int], token: int) -> str:
        return tokenizer.decoder(after).feed(token)

    assert first([], world) == "world"
    assert first([CLS, hello], world) == " world"
    assert first([CLS, hello, SEP], world) == " world"
    assert first([CLS, hello], ing) == "ing"
    assert first([CLS, han], world) == "world"
    assert first([CLS, hello], han) == "今"


@given(st.lists(st.integers(0, len(PIECES) - 1), max_size=20), st.integers(0, 20))
def test_incremental_decoding_from_any_position(ids: list[int], cut: int) -> None:
    tokenizer = SHARED
    decoder = tokenizer.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.flush() == tokenizer.decode(ids)
    rest = tokenizer.decoder(ids[:cut])
    assert tokenizer.decode(ids[:cut]) + "".join(map(rest.feed, ids[cut:])) == tokenizer.decode(ids)


@given(st.text(alphabet=CHARACTERS.replace("-", "") + "abc \n龘", max_size=30))
def test_decoding_inverts_encoding(text: str) -> None:
    """Decoding and encoding again gives the same ids, except for unknown ones."""
    ids = SHARED.encode(text)
    if not SHARED.unknown_count(ids):
        assert SHARED.encode(SHARED.decode(ids)) == ids


@given(st.text(max_size=40))
def test_any_text_has_ids(text: str) -> None:
    ids = SHARED.encode(text)
    assert all(0 <= i < SHARED.vocab_size for i in ids)
    assert not {CLS, SEP, MASK, 0} & set(ids)


@pytest.fixture(scope="module", autouse=True)
def _shared(tokenizer: Tokenizer) -> None:
    global SHARED  # hypothesis refuses function-scoped fixtures
    SHARED = tokenizer


SHARED: Tokenizer


def test_half_a_surrogate_pair_is_unknown(tokenizer: Tokenizer) -> None:
    han = PIECES.index("今")
    assert tokenizer.encode("今\ud800今") == [han, UNK, han]


def test_ids_out_of_range_are_refused(tokenizer: Tokenizer) -> None:
    for call in (tokenizer.piece, tokenizer.decoder().feed, lambda i: tokenizer.decode([1, i])):
        for bad in (-1, len(PIECES)):
            with pytest.raises(RequestError, match=f"token id {bad}"):
                call(bad)


def test_only_a_prompt_that_ends_with_a_letter_or_digit_splits_a_word(tokenizer: Tokenizer) -> None:
    assert [
        tokenizer.splits_word(text) for text in ("今天", "今天hel", "第1", "hi ", "好，", "")
    ] == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]


def test_tokenizers_is_imported_only_when_needed(directory: Path) -> None:
    code = (
        "import sys; from cpm_lm import Tokenizer; Tokenizer.files(sys.argv[1]);"
        "t = Tokenizer.load(sys.argv[1]); t.decode([5, 6]);"
        "assert 'tokenizers' not in sys.modules; t.encode('x');"
        "assert 'tokenizers' in sys.modules; assert 'jieba' not in sys.modules;"
        "assert 'sentencepiece' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True)


def test_without_tokenizers_the_error_names_the_extra(directory: Path) -> None:
    code = (
        "import sys; sys.modules['tokenizers'] = None; from cpm_lm import *\n"
        "tokenizer = Tokenizer.load(sys.argv[1])\n"
        "try: tokenizer.encode('x')\n"
        "except TokenizerError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(directory)]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert pip_install("bert") in found

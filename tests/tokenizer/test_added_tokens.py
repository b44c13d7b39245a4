"""Added tokens: transformers' BertTokenizer reads the same files, and encodes the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AddedToken, BertTokenizer

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer import Tokenizer
from tests.support.tiny_bert import PIECES, write_pieces

N = len(PIECES)
WORDS = {
    "公园散步": {},
    "Covid": {},
    "As": {},
    "cov": {"single_word": True},
    "A B": {"normalized": False},
}
SPECIAL = {"<|end|>": {"special": True, "normalized": False}, "eos": {"special": True}}
STRIPPING = {"蓝色": {"lstrip": True}, "@x": {"rstrip": True, "normalized": False}, "##年": {}}
ALL = WORDS | SPECIAL | STRIPPING


def entries(flags: dict[str, Any] = ALL) -> list[dict[str, Any]]:
    """Return tokens as tokenizer.json keeps them."""
    usual = {"single_word": False, "lstrip": False, "rstrip": False, "special": False}
    return [
        {"id": N + i, "content": content, **usual, "normalized": True, **own}
        for i, (content, own) in enumerate(flags.items())
    ]


def decoder(flags: dict[str, Any] = ALL) -> dict[str, Any]:
    """Return tokens as tokenizer_config.json keeps them."""
    return {str(entry.pop("id")): entry for entry in entries(flags)}


def theirs_of(directory: Path, text: str) -> list[int]:
    theirs = BertTokenizer.from_pretrained(directory)
    found: list[int] = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    return found


def in_decoder(directory: Path) -> None:
    write_pieces(directory, added_tokens_decoder=decoder(), tokenizer_class="BertTokenizer")


def in_tokenizer_json(directory: Path) -> None:
    write_pieces(directory / "old")
    BertTokenizer.from_pretrained(directory / "old").save_pretrained(directory)
    path = directory / "tokenizer.json"
    values = json.loads(path.read_text())
    values["added_tokens"] += entries()
    path.write_text(json.dumps(values))


def beside_vocab_txt(directory: Path) -> None:
    """As versions before 5 saved it: both, and the tokens in the newer file alone."""
    in_tokenizer_json(directory)
    write_pieces(directory)


PLACES = [in_decoder, in_tokenizer_json, beside_vocab_txt]
TEXTS = [
    "我们去公园散步。",
    "公园 散步",
    "covid COVID Covid xcovidx",
    "cov covx cov天",
    "A B a b A  B",
    "<|end|>今天<|end|>",
    "天 蓝色 天  @x  hello@xx",
    "1##年 ##年",
    "[CLS]公园散步[SEP]",
]


@pytest.mark.parametrize("place", PLACES)
def test_the_library_encodes_the_same(tmp_path: Path, place: Any) -> None:
    place(tmp_path)
    ours = Tokenizer.load(tmp_path)
    assert ours.vocab_size == N + len(ALL) == len(BertTokenizer.from_pretrained(tmp_path))
    for text in TEXTS:
        assert ours.encode(text) == theirs_of(tmp_path, text), text


def test_added_tokens_json(tmp_path: Path) -> None:
    """86 pieces and 4 added: once 86 ids, and the added word in four pieces."""
    write_pieces(tmp_path, PIECES[:86])
    added = {"公园散步": 86, "<s>": 87, "Covid": 88, "</s>": 89}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    ours = Tokenizer.load(tmp_path)
    assert ours.vocab_size == 90
    assert ours.encode("公园散步") == [86]
    for text in ("我们去公园散步。", "covid COVID", "今</s>天<s>"):
        assert ours.encode(text) == theirs_of(tmp_path, text)
    assert ours.decode([87, 86, 88, 89]) == "公园散步Covid"


@pytest.fixture(scope="module", autouse=True)
def _shared(tmp_path_factory: pytest.TempPathFactory) -> None:
    global OURS, THEIRS  # hypothesis takes no fixtures of a function's scope
    directory = tmp_path_factory.mktemp("bert")
    in_decoder(directory)
    OURS, THEIRS = Tokenizer.load(directory), BertTokenizer.from_pretrained(directory)


OURS: Tokenizer
THEIRS: BertTokenizer
PARTS = [*ALL, *"公园散步今天cov idABab@x#2蓝 \n\t<|>龘É", "hello", "[CLS]", "  "]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_random_texts(text: str) -> None:
    found = OURS.encode(text)
    special = {N + list(ALL).index(content) for content in SPECIAL}
    assert not special & set(found)
    theirs = THEIRS.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert found == [1 if i in special else i for i in theirs]


@given(st.lists(st.sampled_from(PARTS), max_size=12).map("".join))
def test_decoding_undoes_encoding(text: str) -> None:
    """All but what is unknown comes back to the same ids."""
    ids = OURS.encode(text)
    again = OURS.decode(ids)
    if not OURS.unknown_count(ids) and not set(again) & set("#<>|@"):
        assert OURS.decode(OURS.encode(again)) == again


def test_special_ones_print_as_nothing_and_others_as_they_are(tmp_path: Path) -> None:
    in_decoder(tmp_path)
    ours = Tokenizer.load(tmp_path)
    ids = {content: N + i for i, content in enumerate(ALL)}
    assert ours.decode([ids["<|end|>"], ids["公园散步"], ids["eos"]]) == "公园散步"
    assert ours.decode([PIECES.index("hello"), ids["Covid"], ids["A B"]]) == "hello Covid A B"
    assert ours.decode([PIECES.index("a"), ids["##年"]]) == "a##年"  # a text, no continuation
    assert ours.piece(ids["<|end|>"]) == "<|end|>"


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("去Covid，公园散步", "去Covid，公园散步"),
        ("COVID hello", "Covid hello"),  # matched in lower case, but it decodes as it is spelled
        ("A B", "A B"),
        ("a b", "a b"),  # not normalized: only as it is spelled
        ("今<|end|>", ""),
        ("a\u017f", ""),  # no error for a letter that equals "s" if case is ignored
    ],
)
def test_stop_strings_are_as_they_would_be_drawn(stop: str, expected: str) -> None:
    assert OURS.as_generated(stop) == expected
    if expected:
        assert OURS.decode(OURS.encode(stop)) == expected


@pytest.mark.parametrize("name", ["additional_special_tokens", "extra_special_tokens"])
@pytest.mark.parametrize("file", ["special_tokens_map.json", "tokenizer_config.json"])
def test_names_make_a_token_special(tmp_path: Path, name: str, file: str) -> None:
    write_pieces(tmp_path, [*PIECES, "<a>"])
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<b>": N + 1, "<c>": N + 2}))
    names = {name: ["<a>", {"content": "<b>", "lstrip": False}]}
    (tmp_path / file).write_text(json.dumps(names))
    ours = Tokenizer.load(tmp_path)
    assert ours.decode([N, N + 1, N + 2]) == "<c>"
    assert not {N, N + 1} & set(ours.encode("<a><b><c>"))
    assert N + 2 in ours.encode("<a><b><c>")


def test_as_the_library_saves_it(tmp_path: Path) -> None:
    theirs = BertTokenizer.from_pretrained(write_pieces(tmp_path / "old"))
    theirs.add_tokens(["公园散步", AddedToken("Covid", single_word=True)])
    theirs.add_special_tokens({"additional_special_tokens": ["<user>"], "bos_token": "<bos>"})
    theirs.save_pretrained(tmp_path / "new")
    ours = Tokenizer.load(tmp_path / "new")
    assert ours.vocab_size == len(theirs) == N + 4
    for text in (*TEXTS, "<user>今", "<bos>"):
        found = theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert ours.encode(text) == found
    assert ours.decode([theirs.convert_tokens_to_ids("<user>")]) == ""


def test_many_are_read_quickly_and_a_piece_that_occurs_twice(tmp_path: Path) -> None:
    write_pieces(tmp_path, [*PIECES, "天"])
    added = {f"词{i}号": N + 1 + i for i in range(3000)}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    ours = Tokenizer.load(tmp_path)
    assert ours.encode("天词2999号天") == [N, N + 3000, N]


def test_all_files_are_named_so_that_all_are_copied(tmp_path: Path) -> None:
    beside_vocab_txt(tmp_path)
    for name in ("added_tokens.json", "special_tokens_map.json", "text_style.json"):
        (tmp_path / name).write_text("{}")
    assert set(Tokenizer.files(tmp_path)) == {
        "vocab.txt",
        "tokenizer.json",
        "tokenizer_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
        "text_style.json",
    }


def entry(**change: Any) -> dict[str, Any]:
    return {"content": "x", "special": False} | change


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("added_tokens.json", {"x": N + 1}, f"expected ids from {N} on"),
        ("added_tokens.json", {"x": N, "y": N}, f"expected ids from {N} on"),
        ("added_tokens.json", {"x": "7"}, "is damaged"),
        ("added_tokens.json", {"x": -1}, "is damaged"),
        ("added_tokens.json", {"x": True}, "is damaged"),
        ("added_tokens.json", {"": N}, "is damaged"),
        ("added_tokens.json", {"天": N}, "where the word pieces have another"),
        ("added_tokens.json", {"x": 3}, "where the word pieces have another"),
        ("added_tokens.json", {"\ud800": N}, "lone surrogate"),
        ("special_tokens_map.json", {"pad_token": "\udfff"}, "lone surrogate"),
        ("added_tokens.json", [], "expected a JSON object"),
        ("tokenizer_config.json", {"added_tokens_decoder": 3}, "is damaged"),
        ("tokenizer_config.json", {"added_tokens_decoder": {str(N): "x"}}, "is damaged"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": entry()}}, "is damaged"),
        ("tokenizer_config.json", {"added_tokens_decoder": {str(N): entry(content=3)}}, "damaged"),
        (
            "tokenizer_config.json",
            {"added_tokens_decoder": {str(N): entry(special="yes")}},
            "special of 'x' is 'yes', expected true or false",
        ),
        ("tokenizer_config.json", {"additional_special_tokens": 7}, "no list of names"),
        ("special_tokens_map.json", {"additional_special_tokens": "<a>"}, "no list of names"),
        ("special_tokens_map.json", 7, "expected a JSON object"),
    ],
)
def test_damaged_files(tmp_path: Path, file: str, values: Any, message: str) -> None:
    write_pieces(tmp_path)
    (tmp_path / file).write_text(json.dumps(values))
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)


def test_two_files_that_disagree(tmp_path: Path) -> None:
    write_pieces(tmp_path, added_tokens_decoder={str(N): entry(), str(N + 1): entry(content="y")})
    (tmp_path / "added_tokens.json").write_text(json.dumps({"x": N + 1}))
    with pytest.raises(TokenizerError, match=f"'x' has id {N}, elsewhere {N + 1}"):
        Tokenizer.load(tmp_path)

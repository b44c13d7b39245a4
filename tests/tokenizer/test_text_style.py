"""Conventions of texts: the same vocabulary, trained on in different ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from cpm_lm.choices import TextStyleName
from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer import Tokenizer
from tests.support.tiny_bert import CHARACTERS, PIECES, write_pieces
from tests.support.tiny_vocabulary import train

LINES = [*PIECES, "2019", "年", "20", "##19", "covid"]
"""With numbers as pieces, which BERT's own cutting prefers."""
CLS, SEP, MASK = (LINES.index(f"[{name}]") for name in ("CLS", "SEP", "MASK"))
EOT = "<|endoftext|>"
AS_SAVED = {"__type": "AddedToken", "content": EOT, "lstrip": False, "normalized": False}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pieces(tmp_path_factory.mktemp("bert"), LINES)


@pytest.fixture(scope="module")
def chinese(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory, text_style="gpt2-chinese")


@pytest.fixture(scope="module", autouse=True)
def _shared(directory: Path, chinese: Tokenizer) -> None:
    global OURS, THEIRS  # hypothesis takes no fixtures of a function's scope
    OURS, THEIRS = chinese, BertTokenizer.from_pretrained(directory)


OURS: Tokenizer
THEIRS: BertTokenizer


def as_gpt2_chinese(text: str) -> list[int]:
    """Return the ids by that project's code: spaces around every digit, [SEP] for a line end."""
    ids: list[int] = []
    for line in text.split("\n"):
        spaced = "".join(f" {c} " if c.isdigit() else c for c in line)
        ids += [SEP, *THEIRS.encode(spaced, add_special_tokens=False)]
    return ids[1:]


@pytest.mark.parametrize(
    ("style", "prefix", "end"),
    [("uer", (CLS,), SEP), ("gpt2-chinese", (), CLS), ("gpt2-chitchat", (CLS,), SEP)],
)
def test_what_begins_and_ends_a_text(
    directory: Path, style: TextStyleName, prefix: tuple[int, ...], end: int
) -> None:
    tokenizer = Tokenizer.load(directory, text_style=style)
    assert (tokenizer.prefix_ids, tokenizer.end_ids) == (prefix, frozenset([end]))
    assert (tokenizer.text_style, tokenizer.note) == (style, "")


@pytest.mark.parametrize(
    "text",
    ["2019年", "covid19, 第20190天", "a²b③c٣", "今天\n\n 2019\r\n中国\n", "１２３", "\n", ""],
)
def test_ids_are_gpt2_chineses(chinese: Tokenizer, text: str) -> None:
    assert chinese.encode(text) == as_gpt2_chinese(text)


@given(st.text(alphabet=CHARACTERS + "年abc 019\nÉ²٣龘", max_size=30))
def test_ids_of_random_texts_are_gpt2_chineses(text: str) -> None:
    assert OURS.encode(text) == as_gpt2_chinese(text)


def test_digits_come_back_as_one_number(directory: Path, chinese: Tokenizer) -> None:
    """Once `2 0 1 9年`: digits were words of letters, which spaces part."""
    ids = chinese.encode("2019年")
    assert [chinese.piece(i) for i in ids] == ["2", "0", "1", "9", "年"]
    assert chinese.decode(ids) == "2019年"
    assert chinese.decode(chinese.encode("hello 2 world")) == "hello2world"
    assert chinese.decoder(ids[:1]).feed(ids[1]) == "0"
    uer = Tokenizer.load(directory, text_style="uer")
    assert [uer.piece(i) for i in uer.encode("2019年")] == ["2019", "年"]
    assert uer.decode(ids) == "2 0 1 9年"


def test_a_line_end_is_an_id(directory: Path, chinese: Tokenizer) -> None:
    assert chinese.encode("今天\n中国").count(SEP) == 1
    assert chinese.decode(chinese.encode("今天\nhello\nworld")) == "今天\nhello\nworld"
    assert chinese.decode([MASK, *chinese.encode("今"), CLS]) == "今"
    uer = Tokenizer.load(directory, text_style="uer")
    assert SEP not in uer.encode("今天\n中国")
    chat = Tokenizer.load(directory, text_style="gpt2-chitchat")
    assert chat.encode("你好\n")[-1] == SEP


@pytest.mark.parametrize(
    ("stop", "expected"),
    [("\n", "\n"), ("2019", "2019"), ("今天\n\n", "今天\n\n"), ("a 1 b", "a1b"), ("龘\n", "")],
)
def test_stop_strings_are_as_they_would_be_drawn(
    chinese: Tokenizer, stop: str, expected: str
) -> None:
    assert chinese.as_generated(stop) == expected


def test_a_digit_cannot_be_torn_apart(chinese: Tokenizer, directory: Path) -> None:
    assert [chinese.splits_word(text) for text in ("第1", "abc", "今\n")] == [False, True, False]
    assert Tokenizer.load(directory, text_style="uer").splits_word("第1")


def own_end(directory: Path, **settings: Any) -> Tokenizer:
    write_pieces(directory, tokenizer_class="BertTokenizer", **settings)
    return Tokenizer.load(directory)


@pytest.mark.parametrize("listed", [True, False])
def test_an_end_of_its_own(tmp_path: Path, listed: bool) -> None:
    """As Wenzhong2.0-110M-BertTokenizer: `<|endoftext|>` behind the lines of vocab.txt."""
    if listed:
        (tmp_path / "added_tokens.json").write_text(json.dumps({EOT: len(PIECES)}))
    ours = own_end(tmp_path, bos_token=EOT, eos_token=AS_SAVED)
    theirs = BertTokenizer.from_pretrained(tmp_path)
    assert ours.end_ids == {theirs.eos_token_id} == {len(PIECES)}
    assert ours.prefix_ids == (theirs.bos_token_id,)
    assert ours.vocab_size == len(theirs)
    assert (ours.text_style, ours.note) == ("bos-eos", "")
    assert ours.decode([len(PIECES), *ours.encode("今天"), len(PIECES)]) == "今天"
    assert len(PIECES) not in ours.encode(f"今{EOT}天")


@pytest.mark.parametrize(
    ("settings", "style"),
    [
        ({"eos_token": EOT}, "eos"),
        ({"bos_token": EOT, "eos_token": EOT, "add_bos_token": False}, "eos"),
        ({"bos_token": "[MASK]", "eos_token": EOT}, "bos-eos"),
        ({"bos_token": "[CLS]", "eos_token": "[SEP]"}, "uer"),
        ({"eos_token": "[SEP]"}, "uer"),
        ({"bos_token": None, "eos_token": None}, "uer"),
        ({}, "uer"),
    ],
    ids=str,
)
def test_what_the_files_say(tmp_path: Path, settings: dict[str, Any], style: str) -> None:
    ours = own_end(tmp_path, **settings)
    assert (ours.text_style, ours.note) == (style, "")
    assert bool(ours.prefix_ids) == (style != "eos")
    assert ours.text_style_evidence


def test_an_end_that_only_the_configuration_names(tmp_path: Path) -> None:
    (tmp_path / "added_tokens.json").write_text(json.dumps({EOT: len(PIECES)}))
    ids = {"bos_token_id": 50256, "eos_token_id": len(PIECES)}
    (tmp_path / "config.json").write_text(json.dumps(ids))
    ours = own_end(tmp_path)
    assert (ours.text_style, ours.end_ids, ours.prefix_ids) == ("eos", frozenset([len(PIECES)]), ())
    assert ours.decode([len(PIECES)]) == ""


def test_tokens_that_are_named_but_have_no_row(tmp_path: Path) -> None:
    """Settings name tokens that the model was never given; its configuration tells."""
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": len(PIECES)}))
    ours = own_end(tmp_path, eos_token="</s>", pad_token="<pad>")
    assert (ours.vocab_size, ours.text_style) == (len(PIECES), "uer")


@pytest.mark.parametrize("kind", ["BertTokenizer", "BertTokenizerFast"])
def test_the_class_in_the_configuration(tmp_path: Path, kind: str) -> None:
    write_pieces(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"tokenizer_class": kind}))
    ours = Tokenizer.load(tmp_path)
    assert (ours.text_style, ours.note) == ("uer", "")
    assert kind in ours.text_style_evidence


def test_the_template_of_a_tokenizer_json(tmp_path: Path) -> None:
    write_pieces(tmp_path / "old")
    BertTokenizer.from_pretrained(tmp_path / "old").save_pretrained(tmp_path / "new")
    (tmp_path / "new" / "tokenizer_config.json").unlink()
    assert "tokenizer.json" in Tokenizer.load(tmp_path / "new").text_style_evidence
    path = tmp_path / "new" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"post_processor": None}))
    assert Tokenizer.load(tmp_path / "new").note


def test_files_that_say_nothing(tmp_path: Path) -> None:
    ours = Tokenizer.load(write_pieces(tmp_path))
    assert (ours.text_style, ours.text_style_evidence) == ("uer", "")
    assert f"cpm convert {tmp_path} NEW --text-style uer" in ours.note
    assert "gpt2-chinese" in ours.note


def test_a_store_of_before_opens_as_it_did(tmp_path: Path) -> None:
    """Whatever its settings name: it was [CLS] and [SEP] when it was written."""
    write_pieces(tmp_path, [*PIECES, EOT], tokenizer_class="BertTokenizer", eos_token=EOT)
    assert Tokenizer.load(tmp_path).text_style == "eos"
    (tmp_path / "manifest.json").write_text("{}")
    ours = Tokenizer.load(tmp_path)
    assert (ours.prefix_ids, ours.end_ids) == ((CLS,), frozenset([SEP]))
    assert "--text-style" in ours.note


@pytest.mark.parametrize("name", ["uer", "gpt2-chinese"])
def test_what_is_recorded_wins(tmp_path: Path, name: TextStyleName) -> None:
    write_pieces(tmp_path, tokenizer_class="BertTokenizer", eos_token=EOT)
    record = dict(Tokenizer.load(tmp_path, text_style=name).text_style_record)
    assert record == {"text_style": name, "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (tmp_path / "text_style.json").write_text(json.dumps(record))
    (tmp_path / "manifest.json").write_text("{}")
    ours = Tokenizer.load(tmp_path)
    assert (ours.text_style, ours.note) == (name, "")
    assert "text_style.json" in Tokenizer.files(tmp_path)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text_style": "llama"}, "is 'llama'; expected one of uer, gpt2-chinese"),
        ({}, "is 'None'; expected"),
        ([], "expected a JSON object"),
        ({"text_style": "bos-eos"}, "no piece 'bos_token'"),
        ({"text_style": "eos", "eos_token": "</s>"}, None),
    ],
)
def test_a_damaged_record(tmp_path: Path, record: Any, message: str | None) -> None:
    write_pieces(tmp_path)
    (tmp_path / "text_style.json").write_text(json.dumps(record))
    if message is None:  # a piece that is nowhere else gets the next id, as the library gives it
        assert Tokenizer.load(tmp_path).end_ids == {len(PIECES)}
        return
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(tmp_path)


def test_styles_that_do_not_go_with_a_vocabulary(tmp_path: Path) -> None:
    write_pieces(tmp_path / "bert", [piece for piece in PIECES if piece != "[CLS]"])
    with pytest.raises(TokenizerError, match=r"no piece '\[CLS\]'.*--text-style"):
        Tokenizer.load(tmp_path / "bert", text_style="gpt2-chinese")
    with pytest.raises(TokenizerError, match="expected one of uer"):
        Tokenizer.load(tmp_path / "bert", text_style="x")  # type: ignore[arg-type]
    with pytest.raises(TokenizerError, match=r"whose models have one style"):
        Tokenizer.load(train(tmp_path / "cpm"), text_style="uer")


def test_a_vocabulary_without_what_its_style_does_not_need(tmp_path: Path) -> None:
    lines = [piece for piece in PIECES if piece not in ("[CLS]", "[SEP]", "[MASK]")]
    write_pieces(tmp_path, [*lines, EOT], bos_token=EOT, eos_token=EOT)
    assert Tokenizer.load(tmp_path).end_ids == {len(lines)}


@pytest.mark.parametrize("speaker", ["[speaker1]", "<speaker2>", "[Speaker_1]", "<|speaker1|>"])
@pytest.mark.parametrize("place", ["vocab.txt", "added_tokens.json", "tokenizer_config.json"])
def test_dialogue_models_with_token_types_are_refused(
    tmp_path: Path, speaker: str, place: str
) -> None:
    """Once their logits were off by 1.5, in silence."""
    lines = [*PIECES, speaker] if place == "vocab.txt" else PIECES
    write_pieces(tmp_path, lines)
    if place == "added_tokens.json":
        (tmp_path / place).write_text(json.dumps({speaker: len(PIECES)}))
    elif place != "vocab.txt":
        (tmp_path / place).write_text(json.dumps({"additional_special_tokens": [speaker]}))
    for style in (None, "uer"):
        with pytest.raises(TokenizerError, match="token_type_ids") as raised:
            Tokenizer.load(tmp_path, text_style=style)
        assert speaker in str(raised.value)

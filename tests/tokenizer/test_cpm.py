"""Encoding and decoding with a small vocabulary of CPM's kind."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.errors import RequestError
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.cpm import WORDS_PER_CALL, CPMTokenizer
from cpm_lm.tokenizer.words import words
from tests.support.jieba_itself import jieba_itself
from tests.support.tiny_vocabulary import SENTENCES, train

SPECIAL = "<unk> <s> </s> <cls> <sep> <pad> <mask> <eod>".split()

TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*SENTENCES.splitlines(), *SPECIAL, "\r\n", "今天", "晴朗", "hello", "  "]),
        st.text(
            "今天气不错中国 \n\r\t　，。Ａａx1+-_.%#&<>eod▁▂▃é\u0301\u200b\x00½¨😀𠮷", max_size=12
        ),
        st.text(max_size=6),
        st.just("\ud800"),
    ),
    max_size=6,
).map("".join)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory)


def special_ids(tokenizer: Tokenizer) -> set[int]:
    names = {tokenizer.piece(i): i for i in range(tokenizer.vocab_size)}
    return {names[name] for name in SPECIAL if name in names and name != "<unk>"}


def test_words_spaces_and_lines_are_decoded(tokenizer: Tokenizer) -> None:
    text = "今天天气不错\n中国的首都是北京 hello"
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.unknown_count(ids) == 0
    assert [tokenizer.piece(i) for i in tokenizer.encode("\n")] == ["▁", "\n"]


def test_what_decoding_changes(tokenizer: Tokenizer) -> None:
    assert tokenizer.normalize("今天，你好！") == "今天,你好!"
    assert tokenizer.normalize("今\t天　好▁了\u200b") == "今天好了"
    assert tokenizer.normalize("１＋１＝２") == "1+1=2"
    assert tokenizer.normalize("天\r\n天\r天") == "天\n天天"
    assert tokenizer.normalize("今😀天龘") == "今⁇天⁇"
    assert tokenizer.normalize("") == ""


def test_unknown_characters_are_counted(tokenizer: Tokenizer) -> None:
    assert tokenizer.unknown_count(tokenizer.encode("今😀天龘")) == 2
    assert tokenizer.unknown_count([]) == 0


@pytest.mark.parametrize("name", [*SPECIAL, "＜eod＞", "今天<eod>", "<eod><eod>", "< eod >"])
def test_the_name_of_a_special_piece_in_a_text_is_text(tokenizer: Tokenizer, name: str) -> None:
    assert not special_ids(tokenizer).intersection(tokenizer.encode(name))


def test_a_line_mark_in_a_text_is_unknown_and_a_space_mark_is_a_space(tokenizer: Tokenizer) -> None:
    """In the original, U+2583 in a text was a line end, so a user could insert lines."""
    assert tokenizer.normalize("天▃气") == "天⁇气"
    assert tokenizer.normalize("天▂气") == "天 气"
    assert tokenizer.normalize("\uffff") == "⁇"


def test_half_a_surrogate_pair_is_unknown(tokenizer: Tokenizer) -> None:
    assert tokenizer.normalize("今\ud800天") == "今⁇天"


def test_control_pieces_decode_to_nothing_and_have_names(tokenizer: Tokenizer) -> None:
    controls = special_ids(tokenizer)
    assert len(controls) == 6
    assert tokenizer.decode(sorted(controls)) == ""
    assert {tokenizer.piece(i) for i in tokenizer.end_ids} == {"<eod>"}
    assert tokenizer.end_ids <= controls
    assert tokenizer.prefix_ids == ()
    assert (tokenizer.decode([0]), tokenizer.piece(0)) == ("⁇", "<unk>")


def test_a_control_piece_of_another_name_decodes_to_nothing(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(train(tmp_path, control_symbols="<user>"))
    names = {tokenizer.piece(i): i for i in range(tokenizer.vocab_size)}
    assert tokenizer.decode([names["<user>"]]) == ""
    assert names["<user>"] not in tokenizer.encode("<user>")


def test_special_pieces_are_found_by_name_not_by_number(tmp_path: Path) -> None:
    """If the space is merged with the word mark, pieces 8 and 10 are not CPM's."""
    symbols = "<pad>,<eod>,▁▂,▃,<sep>,<mask>"
    tokenizer = Tokenizer.load(train(tmp_path, user_defined_symbols=symbols))
    ids = tokenizer.encode("今 天\n气")
    assert tokenizer.end_ids == {4}
    assert 5 in ids  # `▁▂`
    assert tokenizer.piece(5) == " "
    assert tokenizer.decode(ids) == "今 天\n气"


@pytest.mark.parametrize("token", [-1, 10**6])
def test_an_id_out_of_range_is_refused(tokenizer: Tokenizer, token: int) -> None:
    for call in (tokenizer.piece, tokenizer.decoder().feed, lambda i: tokenizer.decode([1, i])):
        with pytest.raises(RequestError, match=rf"id {token} .* 0 to {tokenizer.vocab_size - 1}"):
            call(token)


def test_ids_may_be_an_array(tokenizer: Tokenizer) -> None:
    ids = np.array(tokenizer.encode("今天😀"), np.int32)
    assert tokenizer.decode(ids) == "今天⁇"
    assert tokenizer.unknown_count(ids) == 1
    assert tokenizer.piece(ids[0]) == "今天"


@pytest.mark.parametrize(
    ("prompt", "splits"),
    [("今天", True), ("GPT", True), ("100", True), ("答案：", False), ("天\n", False), ("", False)],
)
def test_a_prompt_that_splits_a_word_is_found(
    tokenizer: Tokenizer, prompt: str, splits: bool
) -> None:
    assert tokenizer.splits_word(prompt) is splits


@given(text=TEXTS)
def test_words_equal_jiebas_of_the_whole_text(text: str) -> None:
    whole = list(jieba_itself().cut(text))
    assert list(words(text)) == whole
    assert "".join(whole) == text


@given(text=TEXTS)
def test_ids_equal_the_originals(tokenizer: Tokenizer, text: str) -> None:
    """The original joins the words with spaces and encodes all of them in one call."""
    # Without the characters that the original reads as line ends or refuses.
    clean = text.translate(dict.fromkeys([ord("▃"), *range(0xD800, 0xE000)], "\uffff"))
    marked = str.maketrans(" \n", "▂▃")
    assert tokenizer.encode(text) == original(tokenizer).encode(
        " ".join(word.translate(marked) for word in words(clean))
    )


def original(tokenizer: Tokenizer) -> Any:
    assert isinstance(tokenizer, CPMTokenizer)
    return tokenizer._model


@given(text=TEXTS)
def test_no_text_gives_a_special_id(tokenizer: Tokenizer, text: str) -> None:
    assert not special_ids(tokenizer).intersection(tokenizer.encode(text))
    assert tokenizer.normalize(text).count("\n") == text.count("\n")


@given(first=TEXTS, second=TEXTS)
def test_lines_encode_independently(tokenizer: Tokenizer, first: str, second: str) -> None:
    joined = tokenizer.encode(first + "\n" + second)
    assert joined == tokenizer.encode(first + "\n") + tokenizer.encode(second)


@given(text=TEXTS)
def test_normalized_text_is_unchanged(tokenizer: Tokenizer, text: str) -> None:
    once = tokenizer.normalize(text)
    if not tokenizer.unknown_count(tokenizer.encode(text)):
        assert tokenizer.normalize(once) == once


@given(data=st.data())
def test_incremental_decoding_equals_decoding(tokenizer: Tokenizer, data: Any) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=40))
    cut = data.draw(st.integers(0, len(ids)))
    decoder = tokenizer.decoder()
    assert "".join(map(decoder.feed, ids)) + decoder.flush() == tokenizer.decode(ids)
    assert tokenizer.decode(ids[:cut]) + tokenizer.decode(ids[cut:]) == tokenizer.decode(ids)


def test_a_long_text_is_encoded_word_by_word(tokenizer: Tokenizer) -> None:
    text = SENTENCES * 3
    parts = list(words(text))
    assert len(parts) > 5 * WORDS_PER_CALL
    marked = [word.replace("\n", "▃").replace(" ", "▂") for word in parts]
    alone = [i for word in marked for i in original(tokenizer).encode(word)]
    assert tokenizer.encode(text) == alone


def test_a_very_long_word(tokenizer: Tokenizer) -> None:
    assert tokenizer.normalize("he" * 5000) == "he" * 5000


def test_threads_give_equal_ids(directory: Path, tokenizer: Tokenizer) -> None:
    lines = SENTENCES.splitlines() * 4
    expected = [tokenizer.encode(line) for line in lines]
    fresh = Tokenizer.load(directory)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(fresh.encode, lines)) == expected


def test_import_and_decoding_load_no_jieba(directory: Path) -> None:
    code = (
        "import sys; from cpm_lm.tokenizer import Tokenizer; t = Tokenizer.load(sys.argv[1]);"
        "t.decode([8, 9]); sys.exit('jieba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(directory)], check=True, timeout=60)

"""What comes next, as a person sees it: characters and texts, by exact sums over token paths."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.choices import TextStyleName
from cpm_lm.errors import RequestError
from cpm_lm.generation import next_texts
from cpm_lm.model import DEMO, Model
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.base import Decoder
from tests.support.examples import examples
from tests.support.fakes import FakeEngine, PieceTokenizer, hashed, log
from tests.support.tiny_bert import write_pieces

PIECES = st.lists(
    st.sampled_from(["a", "b", "ab", "ba", "▁a", "▁b", "▁ab", "aab", "▁", "▁", "<sep>", "c"]),
    min_size=2,
    max_size=6,
    unique=True,
)


def fake(pieces: Sequence[str], seed: int = 0, n_positions: int = 6) -> Model:
    pieces = ["<eod>", *pieces]
    spread = hashed(len(pieces))
    engine = FakeEngine(lambda path: spread((*path, seed)), len(pieces), n_positions)
    return Model(engine, PieceTokenizer(pieces))


def masses(model: Model, path: tuple[int, ...]) -> Any:
    engine = model.engine
    assert isinstance(engine, FakeEngine)
    logits = np.array(engine.next_logits(path), np.float32).astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


def by_every_path(model: Model, prompt: tuple[int, ...], text: str) -> float:
    """The probability that what follows begins with a text, by trying every path of tokens."""
    if len(prompt) > model.engine.config.n_positions:
        return 0.0
    total = 0.0
    tokenizer = model.tokenizer
    for i, mass in enumerate(masses(model, prompt)):
        piece = tokenizer.decode([i])
        if i in tokenizer.silent:
            continue
        if piece.startswith(text):
            total += mass
        elif text.startswith(piece) and mass > 1e-9:
            total += mass * by_every_path(model, (*prompt, i), text[len(piece) :])
    return total


@settings(max_examples=examples(20), deadline=None)
@given(PIECES, st.integers(0, 99))
def test_characters_ends_and_special_tokens_sum_to_one(pieces: list[str], seed: int) -> None:
    model = fake(pieces, seed)
    found = model.next_characters([1], model.tokenizer.vocab_size)
    assert sum(item.probability for item in found) == pytest.approx(1, abs=1e-6)
    assert [i.probability for i in found] == sorted((i.probability for i in found), reverse=True)
    assert len({(item.kind, item.text) for item in found}) == len(found)
    for item in found:
        assert item.probability == pytest.approx(math.exp(item.logprob))
        if item.kind == "text":
            assert len(item.text) == 1
    [end] = [item for item in found if item.kind == "end"]
    assert end.text == "<eod>"


@settings(max_examples=examples(20), deadline=None)
@given(PIECES, st.integers(0, 99))
def test_a_character_is_the_sum_over_every_path(pieces: list[str], seed: int) -> None:
    model = fake(pieces, seed, n_positions=12)
    for item in model.next_characters([1], model.tokenizer.vocab_size):
        if item.kind == "text":
            wanted = by_every_path(model, (1,), item.text)
            assert item.probability == pytest.approx(wanted, abs=1e-4)


@settings(max_examples=examples(20), deadline=None)
@given(PIECES, st.integers(0, 99), st.text("ab", min_size=2, max_size=3))
def test_a_text_is_the_sum_over_every_path(pieces: list[str], seed: int, text: str) -> None:
    model = fake(["a", "b", *{*pieces} - {"a", "b"}], seed)
    wanted = by_every_path(model, (1,), text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(next_texts, "WIDTH", 10_000)
        patch.setattr(next_texts, "NEGLIGIBLE", -100.0)
        [found] = [i for i in model.next_characters([1], 1, also=text) if i.text == text]
        assert found.probability == pytest.approx(wanted, rel=1e-6)
    [found] = [i for i in model.next_characters([1], 1, also=text) if i.text == text]
    # Of several paths to one place the likeliest eight are followed: never too much.
    assert 0.5 * wanted < found.probability <= wanted * (1 + 1e-6)


@settings(max_examples=examples(20), deadline=None)
@given(PIECES, st.integers(0, 99), st.text("ab", min_size=1, max_size=2))
def test_a_text_is_as_likely_as_all_that_goes_on_with_it(
    pieces: list[str], seed: int, text: str
) -> None:
    model = fake(["a", "b", *{*pieces} - {"a", "b"}], seed)
    longer = [text + more for more in "abc"]
    also = [text, *(each for each in longer if "c" not in each or "c" in pieces)]
    found = {i.text: i.probability for i in model.next_characters([1], 1, also=also)}
    assert sum(found[each] for each in also[1:]) <= found[text] * (1 + 1e-6)


def test_the_sum_is_written_out_by_hand() -> None:
    pieces = ["<eod>", "▁", "晴", "▁晴朗", "▁蓝", "朗", "<sep>"]
    rows = {
        (2,): [0.1, 0.5, 0.1, 0.1, 0.1, 0.05, 0.05],
        (2, 1): [0.2, 0.0, 0.6, 0.0, 0.0, 0.2, 0.0],
        (2, 2): [0.5, 0.1, 0.0, 0.0, 0.0, 0.4, 0.0],
        (2, 1, 2): [0.1, 0.0, 0.0, 0.0, 0.0, 0.9, 0.0],
        (2, 2, 1): [0.7, 0.0, 0.0, 0.0, 0.0, 0.3, 0.0],
    }
    engine = FakeEngine(lambda path: log(*rows[path]), len(pieces))
    model = Model(engine, PieceTokenizer(pieces))
    found = model.next_characters([2], 7, also=["晴朗", "朗"])
    shown = {(item.kind, item.text): item.probability for item in found}
    wanted = {
        ("text", "晴"): 0.1 + 0.1 + 0.5 * 0.6,
        ("text", "晴朗"): 0.1 + 0.5 * 0.6 * 0.9 + 0.1 * 0.4 + 0.1 * 0.1 * 0.3,
        ("text", "蓝"): 0.1,
        ("text", "朗"): 0.05 + 0.5 * 0.2,
        ("end", "<eod>"): 0.1 + 0.5 * 0.2,
        ("special", "<sep>"): 0.05,
    }
    assert shown == pytest.approx(wanted, rel=1e-6)
    assert found.rows == 1 + 1 + 4  # the prompt; behind the mark; ▁, ▁晴, 晴, 晴▁ of the text
    assert engine.sessions[0].live == 0
    # What is asked for comes in addition to the k likeliest, once, a special token by its name.
    few = model.next_characters([2], 1, also=["朗", "晴", "<sep>", "<eod>", "朗"])
    assert [item.text for item in few] == ["晴", "<eod>", "朗", "<sep>"]


def test_what_cannot_follow_is_refused() -> None:
    model = fake(["a", "b"])
    for bad in ("", "😀"):
        with pytest.raises(RequestError, match="can never follow"):
            model.next_characters([1], 1, also=[bad])
    with pytest.raises(RequestError, match="has 6 tokens, and the context has room for 5"):
        model.next_characters([1], 1, also="a" * 6)
    model.next_characters([1], 1, also="a" * 5)
    for k in (0, 4):
        with pytest.raises(RequestError, match="k is"):
            model.next_characters([1], k)


def test_a_text_too_unlikely_for_a_float_has_its_logarithm() -> None:
    engine = FakeEngine(lambda _: log(0.999, 0.001), 2, n_positions=256)
    model = Model(engine, PieceTokenizer(["<eod>", "a"]))
    [found] = [i for i in model.next_characters([1], 1, also="a" * 200) if i.kind == "text"]
    assert found.probability == 0
    assert found.logprob == pytest.approx(200 * math.log(0.001), rel=1e-5)


class ByteDecoder(Decoder):
    """Bytes to text, which is certain with the last byte of a character."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces
        self.held = b""

    def feed(self, token: Any) -> str:
        self.held += self.pieces[token]
        try:
            text = self.held.decode()
        except UnicodeDecodeError:
            return ""
        self.held = b""
        return text

    def flush(self) -> str:
        return "⁇" if self.held else ""


def test_bytes_of_a_character_are_summed_too() -> None:
    pieces = [b"", "晴".encode(), b"\xe6", b"\x99\xb4", b"\x99", b"\xb4", b"a"]
    tokenizer = PieceTokenizer(["<eod>", *"123456"])
    tokenizer.decoder = lambda after=(): ByteDecoder(pieces)  # type: ignore[assignment, return-value]
    row = [0.1, 0.2, 0.4, 0.1, 0.0, 0.0, 0.2]
    below = [0.0, 0.0, 0.0, 0.5, 0.3, 0.0, 0.2]
    last = [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    rows = {(6,): row, (6, 2): below, (6, 2, 4): last}
    model = Model(FakeEngine(lambda path: log(*rows.get(path, last)), 7), tokenizer)
    found = {item.text: item.probability for item in model.next_characters([6], 7)}
    assert found["晴"] == pytest.approx(0.2 + 0.4 * (0.5 + 0.3))
    assert found["<eod>"] == pytest.approx(0.1)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("style", ["uer", "gpt2-chinese", "bos-eos"])
def test_word_pieces_have_the_text_they_add(tmp_path: Path, style: TextStyleName) -> None:
    settings: Any = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    tokenizer = Tokenizer.load(write_pieces(tmp_path, **settings), text_style=style)
    size = tokenizer.vocab_size
    model = Model(FakeEngine(hashed(size), size), tokenizer)
    for prompt in ("今天", "hello", "hello world ", "空"):
        found = model.next_characters(prompt, size)
        assert sum(item.probability for item in found) == pytest.approx(1, abs=1e-6)
        shown = {(item.kind, item.text): item.probability for item in found}
        ends = [text for kind, text in shown if kind == "end"]
        assert ends == [tokenizer.piece(i) for i in tokenizer.end_ids]
        row = np.exp(np.array(model.engine.next_logits(tuple(model.prompt_ids(prompt)))))  # type: ignore[attr-defined]
        row /= row.sum()
        decoders = [tokenizer.decoder(model.prompt_ids(prompt)) for _ in range(size)]
        if not prompt.endswith(" "):  # behind a space, a word needs no other
            texts = [decoder.feed(i) for i, decoder in enumerate(decoders)]
            for character in "天h w":
                wanted = sum(row[i] for i, text in enumerate(texts) if text[:1] == character)
                assert shown.get(("text", character), 0) == pytest.approx(wanted, rel=1e-5)
        assert (("text", " ") in shown) == (prompt == "hello")
        assert (("text", "\n") in shown) == (style == "gpt2-chinese")


def test_a_word_behind_a_word_is_asked_for_with_its_space(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load(write_pieces(tmp_path), text_style="uer")
    size = tokenizer.vocab_size
    model = Model(FakeEngine(hashed(size), size), tokenizer)
    found = {i.text: i.probability for i in model.next_characters("hello", 1, also=[" world", "s"])}
    tokens = {t.text: t.probability for t in model.next_tokens("hello", size)}
    # A word that begins with "w" after "hello" as one piece, or as "w" alone and pieces within it.
    assert found[" world"] >= tokens["world"] * (1 - 1e-6)
    assert found["s"] == pytest.approx(tokens["##s"], rel=1e-5)


def test_the_demo_model_says_what_the_prototype_said() -> None:
    model = Model.__new__(Model)
    model.__init__(cpm_engine(), Tokenizer.load(DEMO))  # type: ignore[misc]
    sky = model.next_characters("今天的天空好", 8000, also=["晴朗", "火箭"])
    shown = {item.text: item.probability for item in sky}
    assert shown["蓝"] == pytest.approx(0.437, abs=5e-4)
    assert shown["晴"] == pytest.approx(0.178, abs=5e-4)
    assert 0 < shown["火箭"] < 1e-8 < 0.17 < shown["晴朗"] <= shown["晴"]
    single = sum(i.probability for i in sky if len(i.text) == 1 or i.kind != "text")
    assert single == pytest.approx(1, abs=1e-6)
    [cat] = model.next_characters("猫的英文是", 1)
    assert (cat.text, round(cat.probability, 3)) == ("c", 0.359)
    # The canonical path of 晴朗 is a part of its sum: 晴 at the beginning of a word, then 朗.
    ids = model.prompt_ids("今天的天空好")
    first, *_ = path = model.tokenizer.encode("晴朗")
    tokens = {t.token_id: t.probability for t in model.next_tokens(ids, 8000)}
    below = {t.token_id: t.probability for t in model.next_tokens([*ids, first], 8000)}
    assert len(path) == 2
    assert 0.99 * shown["晴朗"] < tokens[first] * below[path[1]] < shown["晴朗"]


def cpm_engine() -> Any:
    from cpm_lm.engines.select import open_engine

    return open_engine(DEMO, engine="reference")

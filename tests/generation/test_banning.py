"""A banned text does not appear, whatever tokens it would consist of."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cpm_lm
from cpm_lm.decoding.banned_text import BannedText
from cpm_lm.errors import RequestError
from cpm_lm.generation.banning import banned_texts
from cpm_lm.generation.options import SamplingOptions
from cpm_lm.generation.path_filters import path_filters
from cpm_lm.generation.token_choices import read_bans, read_bias
from cpm_lm.tokenizer import Tokenizer
from tests.support.fakes import FakeTokenizer
from tests.support.tiny_bert import write_pieces

# Two tokens without text, as a word mark and a special token have none, and one text twice.
PIECES = ["", "a", "b", "ab", "ba", "aab", "", "c", "bca", "a", "abab"]
TOKENIZER = FakeTokenizer(PIECES)  # type: ignore[arg-type]


def state_of(table: BannedText, path: list[int]) -> int:
    state = 0
    for token in path:
        state = table.after(state, token)
    return state


@given(
    st.text("abc", min_size=1, max_size=6),
    st.lists(st.integers(0, len(PIECES) - 1), max_size=7),
)
def test_the_tokens_banned_are_those_that_complete_the_text(ban: str, path: list[int]) -> None:
    (table,) = banned_texts(TOKENIZER, [ban])
    banned = set(table.banned(state_of(table, path)))
    before = TOKENIZER.decode(path)
    for token in range(len(PIECES)):
        new = (before + PIECES[token]).count(ban) > before.count(ban)
        # `count` leaves out occurrences that overlap, so it is asked for the end only.
        new = new or any(
            (before + PIECES[token]).endswith(ban, 0, end)
            for end in range(len(before) + 1, len(before + PIECES[token]) + 1)
        )
        assert (token in banned) == new


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.load(write_pieces(tmp_path_factory.mktemp("bert")))


@given(data=st.data())
def test_with_word_pieces_a_space_is_part_of_the_text(bert: Tokenizer, data: st.DataObject) -> None:
    ban = data.draw(st.sampled_from(["hello world", "the gpt", "天气", "ings", "a", "o w"]))
    some = sorted(i for i in range(bert.vocab_size) if set(bert.piece(i)) & {*ban, "P", "#"})
    path = data.draw(st.lists(st.sampled_from(some), max_size=6))
    (table,) = banned_texts(bert, [ban])
    banned = set(table.banned(state_of(table, path)))
    before = bert.decode(path)
    for token in some:
        after = bert.decode([*path, token])
        new = any(after.endswith(ban, 0, end) for end in range(len(before) + 1, len(after) + 1))
        assert (token in banned) == new, (before, bert.piece(token))


def test_a_banned_word_has_many_id_paths_and_none_is_left() -> None:
    with cpm_lm.load(engine="native") as model:
        options = {"n": 12, "max_tokens": 12, "seed": 3, "temperature": 1.0}
        free = model.sample("床前明月光,", **options)  # type: ignore[arg-type]
        words = ["月", "风"]
        assert all(any(word in sample.text for sample in free) for word in words)
        kept = model.sample("床前明月光,", ban=words, **options)  # type: ignore[arg-type]
        assert not any(word in sample.text for sample in kept for word in words)
        ids = {i for sample in free for i in sample.token_ids}
        pieces = {model.tokenizer.piece(i) for i in ids if "月" in model.tokenizer.piece(i)}
        assert any(len(piece) > 1 for piece in pieces), "the word's own token is not enough"


def test_the_end_of_the_prompt_counts() -> None:
    filters = path_filters(TOKENIZER, SamplingOptions(ban="ab"))
    (edits,) = filters.edits([filters.start([1])])  # the prompt ends in a
    assert set(edits.ids.tolist()) == {2, 3, 4, 5, 8, 10}, "all that begin with b or hold ab"


def test_bans_and_biases_have_several_forms() -> None:
    assert read_bans("坏") == ("坏",)
    assert read_bans(["坏", 5, [6, 7]]) == ("坏", (5,), (6, 7))
    assert read_bans(None) == ()
    assert read_bias({"a": 1, 3: -2}) == {"a": 1.0, 3: -2.0}
    assert read_bias(["a=b=1", "id:3=-2", "id:x=1"]) == {"a=b": 1.0, 3: -2.0, "id:x": 1.0}


def test_a_bias_of_a_text_is_that_of_all_tokens_with_this_text() -> None:
    bias: dict[str | int, float] = {"a": 2, 3: -1, "b": 0}
    filters = path_filters(TOKENIZER, SamplingOptions(bias=bias))
    assert dict(filters.bias) == {1: 2.0, 9: 2.0, 3: -1.0}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ban": [""]}, "ban ''; expected text of at least one character"),
        ({"ban": [[]]}, "expected text of at least one character, or a sequence of token ids"),
        ({"ban": [[1, 99]]}, "token id 99 is banned; expected 0 to 10"),
        ({"ban": ["龘"]}, "'龘' is no sequence of tokens"),
        ({"ban": list(range(11))}, "leave none of the 11 tokens to draw"),
        ({"ban": list(range(1, 11)), "ignore_eos": True}, "leave none of the 11 tokens to draw"),
        ({"ban": ["a"], "stop": "ba"}, "stop string 'ba' holds the banned text 'a'"),
        ({"bias": {"zz": 1}}, "'zz' is not a single token; .* write a token id as id:7"),
        ({"bias": {11: 1}}, "bias of token id 11; expected 0 to 10"),
        ({"bias": {1: 1, "a": 2}}, "token id 1 has two biases"),
        ({"bias": {0: 1}, "ignore_eos": True}, "an end token, and ignore_eos is on"),
        ({"bias": {1: 101}}, "bias of 1 is 101; expected a number from -100 to 100"),
        ({"bias": {1: float("nan")}}, "expected a number from -100 to 100"),
        ({"bias": ["a"]}, "bias 'a'; expected a token's text, = and a number"),
        ({"bias": ["=1"]}, "bias '=1'; expected a token's text"),
        ({"min_tokens": 65}, "min_tokens is 65 and max_tokens 64"),
        ({"min_tokens": 3, "ignore_eos": True}, "already keeps every end token away"),
        ({"min_tokens": -1}, "min_tokens is -1; expected an integer of at least 0"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0; expected a finite number from 0.01"),
        ({"presence_penalty": 2.1}, "presence_penalty is 2.1; expected a finite number from -2 to"),
        ({"frequency_penalty": -3}, "frequency_penalty is -3; expected a finite number from -2 to"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram is -1; expected an integer"),
        ({"top_logprobs": -1}, "top_logprobs is -1; expected an integer"),
    ],
)
def test_bad_input_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=said) as error:
        path_filters(TOKENIZER, *as_arguments(options))
    assert "\n" not in str(error.value)


def as_arguments(options: dict[str, object]) -> tuple[SamplingOptions, tuple[str, ...]]:
    checked = SamplingOptions(**options)  # type: ignore[arg-type]
    return checked, tuple(checked.stop or ())


def test_the_name_of_a_special_token_is_no_text() -> None:
    tokenizer = Tokenizer.load(Path(cpm_lm.DEMO))
    with pytest.raises(RequestError, match="ban its id, 7, or use ignore_eos"):
        banned_texts(tokenizer, ["<eod>"])

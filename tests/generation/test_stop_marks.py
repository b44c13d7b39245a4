"""An answer ends where the prompt's examples end, and a vote that is cut off says what helps."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.generation.stop_marks import MARKS, helpful_stop, inferred_stop, scatter_advice
from cpm_lm.model import Model
from tests.support.examples import examples
from tests.support.fakes import FakeEngine, FakeTokenizer, log

WORDS = st.text("猫狗北京abc129+- ", min_size=1, max_size=6).filter(lambda word: word.strip())


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=5),
    WORDS,
    st.sampled_from(MARKS),
    st.sampled_from(["=", "：", " 是", "->"]),
)
def test_the_mark_of_any_examples_is_found(
    pairs: list[tuple[str, str]], question: str, mark: str, separator: str
) -> None:
    shots = "".join(f"{q}{separator}{a}{mark}" for q, a in pairs)
    assert inferred_stop(f"{shots}{question}{separator}") == mark


@pytest.mark.parametrize(
    ("prompt", "mark"),
    [
        ("12+5=17,30+41=71,25+16=41,18+33=51,46+27=", ","),
        ("1+1=2, 1+2=3, 1+3=", ","),
        ("a=1,2;b=3,4;c=", ";"),  # the comma is within the answers
        ("0.5+0.5=1，0.5+1=1.5，1+1=", "，"),
        ("中国的首都是北京。法国的首都是巴黎。英国的首都是", "。"),
        ("猫=cat 、狗=dog 、鸟=", "、"),
        ("1+1=2,1+2=3,", ","),  # the next example is the answer
        ("1+1=2\n1+2=3\n1+3=", "\n"),
        # One example is none, and prose is none.
        ("1+1=2,1+2=", None),
        ("今天天气很好，我们去公园，然后", None),
        ("床前明月光，疑是地上霜，举头望", None),
        ("他说，你好，我也说", None),
        ("1+1=2,1+2=3;1+3=", None),  # not all end with the same mark
        ("问：1+1等于几？\n答：2", None),
        ("", None),
        (",,", None),
        ("=,=,=", None),
    ],
)
def test_examples_are_told_from_prose(prompt: str, mark: str | None) -> None:
    assert inferred_stop(prompt) == mark


def test_the_mark_that_ends_most_texts_first_helps() -> None:
    assert helpful_stop(["5,1+5=6;", "5,2+3=5;", "6,3;"]) == ","
    assert helpful_stop(["好。明天,", "坏。", "很好。"]) == "。"
    assert helpful_stop([",5", "  ,5"]) is None  # it would leave nothing of them
    assert helpful_stop(["天", "地", "人。"]) is None
    assert helpful_stop([]) is None


def test_answers_that_agree_up_to_a_mark_are_said_to() -> None:
    scattered = ["5,1+5=6", "5,2+2=4", "5", "5,0+1=1"]
    assert "100% agree up to ','" in scatter_advice(scattered)
    assert scatter_advice(["5", "5", "5,1", "6,1"]) == ""  # they agree as wholes
    assert scatter_advice(["1,2", "3,4", "5,6"]) == ""  # they do not agree before it either
    assert scatter_advice([]) == ""


LETTERS = " 12345=+,;\n"
NEXT = {"=": "5", "5": ",", ",": "1", "1": "+", "+": "4", "4": "="}


def sums() -> Model:
    """A model that goes on with sums for ever: 5,1+4=5,1+4=…"""

    def next_logits(path: tuple[int, ...]) -> Any:
        return log(*(float(c == NEXT.get(LETTERS[path[-1]], "1")) for c in LETTERS))

    return Model(FakeEngine(next_logits, len(LETTERS), n_positions=99), FakeTokenizer(LETTERS))


@pytest.mark.parametrize("method", ["sample", "stratified", "exact"])
def test_a_vote_ends_answers_where_the_examples_end_and_says_so(method: str) -> None:
    options: dict[str, Any] = {"method": method, "seed": 1, "max_tokens": 9}
    few_shot = "1+1=2,1+2=3,1+4="
    vote = sums().vote(few_shot, n=5, **options)
    assert (vote.winner, vote.cut_off) == ("5", 0)
    assert "answers end at ','" in vote.note
    ids = sums().tokenizer.encode(few_shot)
    assert sums().vote(ids, n=5, **options).winner == "5"
    whole = sums().vote(few_shot, n=5, whole_line=True, **options)
    assert (whole.winner, whole.cut_off) == (None, 1)
    # What is asked for comes first: a stop string, or a pattern.
    assert sums().vote(few_shot, n=5, stop="+", **options).winner == "5,1"
    pattern = sums().vote(few_shot, n=5, answer="[0-9],[0-9]", **options)
    assert pattern.winner == "5,1"
    assert "answers end" not in pattern.note


def test_a_vote_that_is_cut_off_names_the_stop_that_helps() -> None:
    vote = sums().vote("1+4=", n=5, max_tokens=9, seed=1)
    assert vote.cut_off == 1
    assert "hold ',': end an answer there (--stop ,)" in vote.note
    assert sums().vote("1+4=", n=5, max_tokens=9, seed=1, stop=",").winner == "5"
    # A stop would not make an answer of a text without the pattern.
    silent = sums().vote("1+4=", n=5, max_tokens=9, seed=1, answer="[67]")
    assert "--stop" not in silent.note
    assert "allow more tokens (max_tokens)" in silent.note

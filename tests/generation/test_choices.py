"""A vote among choices has the exact probability of each, as an enumeration of texts has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpm_lm.distributions.draw import probabilities
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import RequestError
from cpm_lm.generation.choices import read_choices
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.generation.path_filters import path_filters
from cpm_lm.model import Model
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed

PIECES = ["", "1", "2", "12", "甲", "乙", "甲乙", "甲方", "乙丙", "丙", " ", "\n", "", "."]
TOKENIZER = FakeTokenizer(PIECES)  # type: ignore[arg-type]
NEXT = hashed(len(PIECES), 1.2)


def model() -> Model:
    return Model(FakeEngine(NEXT, len(PIECES)), TOKENIZER)


def given(text: str, choices: list[str], ended: bool) -> str | None:
    """The choice of a text, "-" for none, None while it is open: written out again."""
    text = text.lstrip(" ")

    def fits(choice: str, text: str) -> bool:
        after = text[len(choice) : len(choice) + 1]
        number = choice[-1].isdigit() and after.isdigit()
        return text.startswith(choice) and not number

    if not ended:
        endings = [*("12甲乙丙方 \n."), "甲乙丙", "12", ""]
        futures = {given(text + more, choices, True) for more in endings}
        if len(futures) > 1:
            return None
    return max((c for c in choices if fits(c, text)), key=len, default="-")


def enumerated(choices: list[str], options: dict[str, Any], depth: int) -> dict[str, float]:
    rules = Rules(temperature=1.0, top_p=options.get("top_p", 1.0))
    filters = path_filters(TOKENIZER, SamplingOptions(**options))
    found = dict.fromkeys([*choices, "-", "left"], 0.0)

    def walk(path: tuple[int, ...], mass: float) -> None:
        if len(path) == depth:
            found["left"] += mass
            return
        row = np.array([NEXT((4, *path))], np.float32)
        history = filters.start([4])
        for token in path:
            history = filters.extended(history, token)
        shares = probabilities(row, rules, filters.edits([history]))[0]
        for token, share in enumerate(shares.tolist()):
            ids = path if token == 0 else (*path, token)
            answer = given(TOKENIZER.decode(ids), choices, token == 0)
            if answer is not None:
                found[answer] += mass * share
            elif mass * share > 1e-7:
                walk(ids, mass * share)
            else:
                found["left"] += mass * share

    walk((), 1.0)
    return found


@pytest.mark.parametrize(
    ("choices", "options"),
    [
        (["甲", "乙"], {}),
        (["甲", "甲乙", "甲乙丙"], {}),  # each a prefix of the next
        (["1", "12", "2"], {}),
        (["乙", "1"], {"top_p": 0.97}),
        (["甲乙", "12"], {"repetition_penalty": 1.5, "no_repeat_ngram": 2, "ban": [9]}),
    ],
)
def test_the_probabilities_are_those_of_all_texts(
    choices: list[str], options: dict[str, Any]
) -> None:
    vote = model().vote("甲", choices=choices, **options)
    exact = enumerated(choices, options, 7)
    assert {row.answer for row in vote.tally} == set(choices), "all of them, the unlikely too"
    for row in vote.tally:
        assert row.share == pytest.approx(exact[row.answer], abs=exact["left"] + 1e-6)
    assert exact["left"] < 0.01
    assert sum(row.among_choices or 0 for row in vote.tally) == pytest.approx(1)
    assert vote.winner == max(choices, key=exact.__getitem__)
    whole = sum(row.share for row in vote.tally) + vote.no_answer + vote.cut_off + vote.unexplored
    assert whole == pytest.approx(1)
    assert (vote.method, vote.seed, vote.drawn) == ("exact", None, 0)
    assert [text.split()[0] for text in vote.filters] == list(options)


def test_a_longer_choice_takes_the_texts_that_begin_with_it() -> None:
    shares = {}
    for choices in (["甲", "丙"], ["甲", "甲乙", "丙"]):
        vote = model().vote("甲", choices=choices)
        shares[len(choices)] = {row.answer: row.share for row in vote.tally}
    both = shares[3]["甲"] + shares[3]["甲乙"]
    assert both == pytest.approx(shares[2]["甲"], abs=1e-6)
    assert shares[3]["甲乙"] > 0.001


def test_few_rows_are_computed() -> None:
    vote = model().vote("甲", choices="甲,丙", top_k=3)
    assert vote.rows < 40


def test_a_budget_leaves_the_rest_unexplored() -> None:
    vote = model().vote("甲", choices=["甲乙", "12"], budget=1)
    assert vote.rows == 1
    assert vote.unexplored > 0
    assert not vote.certified or vote.tally[0].share > vote.tally[1].share + vote.unexplored


def test_choices_may_be_one_text() -> None:
    assert read_choices(" 甲,乙 ，丙、丁") == ("甲", "乙", "丙", "丁")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"choices": "甲"}, "choices has 1 text; expected at least two"),
        ({"choices": "甲,甲"}, "'甲' is given twice"),
        ({"choices": "甲,"}, "choice ''; expected text"),
        ({"choices": "甲,乙", "answer": "number"}, "leave answer out"),
        ({"choices": "甲,乙", "confidence": 0.9}, "leave confidence out"),
        ({"choices": "甲,乙", "stop": "."}, "leave stop out"),
        ({"choices": "甲,乙", "method": "stratified"}, "leave method out"),
        ({"choices": "甲,乙", "overflow": "slide"}, "need overflow 'stop'"),
    ],
)
def test_options_that_choices_make_pointless_are_refused(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        VotingOptions(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"choices": "甲,龘"}, "'龘' can never appear"),
        ({"choices": "甲乙,丙", "ban": "乙"}, "'甲乙' holds the banned text '乙'"),
        ({"choices": ["甲", "甲龘"]}, "are the same to the tokenizer"),
    ],
)
def test_choices_that_cannot_be_told_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        model().vote("甲", **options)

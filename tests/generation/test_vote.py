from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from cpm_lm.choices import Method
from cpm_lm.decoding.best_first import row_bytes
from cpm_lm.distributions.draw import probabilities
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import CapacityError, EngineError, RequestError
from cpm_lm.generation.options import VotingOptions
from cpm_lm.generation.tally import AnswerShare, wilson
from cpm_lm.model import Model, Vote
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed, log

LETTERS = " 123ab\n.,"  # the first is the end


def model(next_logits: Any = None) -> Model:
    spread = hashed(len(LETTERS), 1.5)
    return Model(FakeEngine(next_logits or spread, len(LETTERS)), FakeTokenizer(LETTERS))


def always(**masses: float) -> Model:
    row = log(*(masses.get({" ": "end", "\n": "line"}.get(c, c), 0.0) for c in LETTERS))
    return model(lambda _: row)


def after_one(*masses: float) -> Model:
    """The answers 1, 2 and 3 with these probabilities, each followed by a line end."""
    first = log(0, *masses, *[0] * (len(LETTERS) - 1 - len(masses)))
    line = log(*(float(c == "\n") for c in LETTERS))
    return model(lambda path: first if len(path) == 1 else line)


def sums_to_one(vote: Vote) -> bool:
    whole = sum(t.share for t in vote.tally) + vote.no_answer + vote.cut_off + vote.unexplored
    return whole == pytest.approx(1, abs=1e-9)


Reader = Callable[[str, bool], str | None]
"""From a text and whether it has ended: the answer, "-" for none, None if it is undecided."""


def cut(text: str, ended: bool) -> tuple[str, bool]:
    """A text up to its stop string, and whether it has ended."""
    at = min((text.index(s) for s in ("\n", ".") if s in text), default=len(text))
    return text[:at], ended or at < len(text)


def whole(text: str, ended: bool) -> str | None:
    text, over = cut(text, ended)
    return (text.strip().rstrip(",") or "-") if over else None


def first_number(text: str, ended: bool) -> str | None:
    """The first number, once another character follows it."""
    text, over = cut(text, ended)
    digits = "".join(c if c.isdigit() else " " for c in text).split()
    if digits and (over or not text[-1].isdigit() or len(digits) > 1):
        return digits[0]
    return "-" if over else None


def first_number_of_all(text: str, ended: bool) -> str | None:
    return first_number(text, ended) if cut(text, ended)[1] else None


def enumerate_answers(
    subject: Model, longest: int, reader: Reader, top_p: float = 1.0
) -> dict[str, float]:
    """The exact distribution of answers, by enumeration of all texts."""
    rules = Rules(temperature=1, top_p=top_p)
    masses: dict[str, float] = {}
    open_: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    while open_:
        path, mass = open_.pop()
        logits = np.array([subject.engine.next_logits((4, *path))], np.float32)  # type: ignore[attr-defined]
        for token, p in enumerate(probabilities(logits, rules)[0].tolist()):
            ids = path if token == 0 else (*path, token)
            found = reader("".join(LETTERS[i] for i in ids), token == 0)
            if found is None and len(ids) < longest:
                open_.append((ids, mass * p))
            else:
                name = "cut off" if found is None else found
                masses[name] = masses.get(name, 0.0) + mass * p
    return masses


@pytest.mark.long
@pytest.mark.parametrize(
    ("answer", "reader"),
    [(None, whole), ("[0-9]+", first_number), ("[0-9]+(?![0-9])", first_number_of_all)],
)
@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_all_methods_find_the_exact_distribution(
    answer: str | None, reader: Reader, top_p: float
) -> None:
    subject = model()
    options: dict[str, Any] = {"stop": ".", "answer": answer, "max_tokens": 3, "top_p": top_p}
    exact = enumerate_answers(subject, 3, reader, top_p)
    best = max((k for k in exact if k not in ("-", "cut off")), key=exact.__getitem__)
    found = subject.vote("a", method="exact", **options)
    assert (found.winner, found.certified, found.reason) == (best, True, "proven")
    for row in found.tally:
        assert row.low is not None
        assert row.high is not None
        assert row.low - 1e-9 <= exact[row.answer] <= row.high + 1e-9
    assert found.cut_off <= exact["cut off"] + 1e-9 <= found.cut_off + found.unexplored + 2e-9
    assert sums_to_one(found)
    for method in ("sample", "stratified"):
        drawn = subject.vote("a", method=method, n=3000, seed=1, **options)
        assert sums_to_one(drawn)
        shares = {row.answer: row.share for row in drawn.tally}
        shares |= {"cut off": drawn.cut_off, "-": drawn.no_answer}
        for name, mass in exact.items():
            assert abs(shares.get(name, 0) - mass) < 4 * (mass / 3000) ** 0.5 + 1e-3


@pytest.mark.long
@pytest.mark.parametrize("method", ["sample", "stratified", "exact"])
def test_a_sample_ends_when_its_number_is_decided(method: str) -> None:
    subject = model()
    options: dict[str, Any] = {"stop": ".", "max_tokens": 4, "method": method, "seed": 5}
    early = subject.vote("a", n=400, answer="number", **options)
    exact = enumerate_answers(subject, 4, first_number)
    for row in early.tally:
        mass = exact[row.answer]
        if method == "exact":
            assert (row.low or 0) - 1e-9 <= mass <= (row.high or 0) + 1e-9
        else:
            assert abs(row.share - mass) < 4 * (mass / 400) ** 0.5 + 1e-3
    assert sums_to_one(early)
    late = subject.vote("a", n=400, answer="number", match="last", **options)
    assert early.cut_off + early.unexplored < late.cut_off + late.unexplored
    assert early.rows < late.rows or method == "exact"


@pytest.mark.long
def test_the_vote_of_sample_i_does_not_depend_on_n() -> None:
    subject, node = model(), model().engine.config.node_bytes
    reported: list[float] = []
    whole = subject.vote("a", n=300, seed=2, max_tokens=4)
    for n in (1, 8, 300):
        fewer = subject.vote("a", n=n, seed=2, max_tokens=4, memory=5 * node)
        texts = [s.text for s in subject.sample("a", n=n, seed=2, max_tokens=4, stop="\n", **OPEN)]
        assert fewer.drawn == n
        firsts = [t.answer for t in fewer.tally]
        assert set(firsts) <= {text.rstrip(",. ") for text in texts}
    assert fewer.tally == whole.tally
    assert fewer.rows == whole.rows

    def on_tally(tally: Sequence[AnswerShare], decided: float) -> None:
        reported.append(decided)
        assert sum(t.share for t in tally) <= 1 + 1e-9

    assert subject.vote("a", n=300, seed=2, max_tokens=4, on_tally=on_tally).tally == whole.tally
    assert reported[-1] == 1
    assert reported == sorted(reported)


OPEN: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0}


def test_intervals_are_given_only_if_they_are_valid() -> None:
    subject = after_one(0.5, 0.3, 0.2)
    drawn = subject.vote("a", seed=1)
    for row in drawn.tally:
        assert (row.low, row.high) == wilson(row.count or 0, 300)
    assert "Wilson" in drawn.intervals
    without: list[dict[str, Any]] = [{"method": "stratified"}, {"confidence": 0.9}]
    for options in without:
        vote = subject.vote("a", seed=1, **options)
        assert {(row.low, row.high) for row in vote.tally} == {(None, None)}
        assert vote.intervals.startswith("no intervals: ")
        assert not vote.certified
    assert "bounds" in subject.vote("a", method="exact").intervals


def test_sampling_ends_early_when_the_lead_is_confident() -> None:
    sure = after_one(0.9, 0.1).vote("a", seed=1, confidence=0.95)
    assert (sure.winner, sure.reason, sure.drawn) == ("1", "confident", 16)
    unsure = after_one(0.5, 0.5).vote("a", seed=1, n=100, confidence=0.999999)
    assert (unsure.reason, unsure.drawn) == ("drawn", 100)
    plain = after_one(0.5, 0.5).vote("a", seed=1, n=100)
    assert [(t.answer, t.count) for t in unsure.tally] == [(t.answer, t.count) for t in plain.tally]
    assert sure.rows_unmerged == 16 * 2
    silent = always(a=1.0).vote(
        "a", max_tokens=2, confidence=0.5
    )  # without answers there is no leader
    assert (silent.winner, silent.reason) == (None, "drawn")


def test_the_winner_is_proven_with_few_rows_and_a_tie_never() -> None:
    proven = after_one(0.6, 0.4).vote("a", method="exact")
    assert (proven.winner, proven.certified, proven.seed, proven.drawn) == ("1", True, None, 0)
    assert proven.rows <= 3
    tie = after_one(0.5, 0.5).vote("a", method="exact")
    assert (tie.reason, tie.certified) == ("explored", False)


def test_a_small_budget_gives_bounds() -> None:
    for budget in (1, 2, 3):
        vote = model().vote("a", method="exact", budget=budget)
        assert vote.reason == "budget"
        assert vote.rows <= budget
        assert not vote.certified
        assert sums_to_one(vote)


def test_aliases_and_normalization_join_answers() -> None:
    vote = after_one(0.4, 0.3, 0.3).vote("a", seed=1, aliases={" 2": "two", "3。": "two"})
    assert vote.winner == "two"
    assert len(vote.tally) == 2


def test_an_answer_ends_at_a_line_end_or_a_stop_string() -> None:
    row = {"1": 0.5, "line": 0.2, ",": 0.3}
    lines = always(**row).vote("a", n=50, seed=1, method="exact", budget=400)
    assert any("," in t.answer for t in lines.tally)
    stopped = always(**row).vote("a", n=50, seed=1, stop=",")
    assert not any("," in t.answer or "\n" in t.answer for t in stopped.tally)


def test_texts_cut_off_have_no_answer_and_a_note_says_what_to_do() -> None:
    endless = always(a=0.9, line=0.1).vote("1", n=100, max_tokens=3, seed=1)
    assert endless.cut_off > 0.5
    assert "after 3 tokens" in endless.note
    assert "max_tokens" in endless.note
    assert always(a=0.9, line=0.9).vote("1", n=100, max_tokens=9, seed=1).note == ""
    exact = always(a=0.9, line=0.1).vote("1", method="exact", max_tokens=3)
    assert exact.cut_off + exact.unexplored == pytest.approx(0.729)
    wordy = always(a=0.1, line=0.9).vote("1", answer="number", max_tokens=9, seed=1)
    assert (wordy.winner, wordy.no_answer) == (None, 1)
    assert "pattern 'number'" in wordy.note
    unanswered = always(a=0.1, line=0.9).vote("1", answer="number", method="exact")
    assert unanswered.no_answer == pytest.approx(1, abs=1e-3)
    assert unanswered.reason == "explored"


@pytest.mark.parametrize("method", ["sample", "stratified", "exact"])
def test_an_empty_text_is_no_answer_and_the_vote_says_what_to_do(method: Method) -> None:
    # '' won where the prompt ended a line that is complete.
    ended = always(end=0.3, line=0.3, a=0.2, **{"1": 0.2})
    vote = ended.vote("1", method=method, max_tokens=2, seed=1)
    assert vote.winner in ("a", "1")
    assert "" not in [row.answer for row in vote.tally]
    assert vote.no_answer > 0.5
    assert "were empty" in vote.note
    assert "pattern" not in vote.note
    named = ended.vote("1", method=method, max_tokens=2, seed=1, aliases={"": "nothing"})
    assert named.winner == "nothing"


def test_where_the_prompt_separates_numbers_by_commas_a_comma_ends_one() -> None:
    def following(path: tuple[int, ...]) -> list[float]:
        return log(*(float(LETTERS[i] == "1,123\n"[min(len(path) - start, 5)]) for i in range(9)))

    start = 2
    grouped = model(following).vote("1a", answer="number", n=5, seed=1)
    start = 4
    apart = model(following).vote("1,2a", answer="number", n=5, seed=1)
    ids = model(following).vote([2, 8, 3, 5], answer="number", n=5, seed=1)
    assert (grouped.winner, apart.winner, ids.winner) == ("1123", "1", "1")
    assert apart.rows < grouped.rows + 2


def test_the_last_number_is_known_at_the_end() -> None:
    def following(path: tuple[int, ...]) -> list[float]:
        return log(*(float(LETTERS[i] == "1a23b\n"[min(len(path) - 1, 5)]) for i in range(9)))

    first = model(following).vote("a", answer="number", n=5, seed=1)
    for method in ("sample", "stratified", "exact"):
        last = model(following).vote("a", answer="number", match="last", n=5, method=method, seed=1)
        assert (first.winner, last.winner) == ("1", "23")
        assert last.rows > first.rows
        assert model(following).vote(
            "a", answer="number", match="last", n=5, method=method, seed=1, max_tokens=4
        ).cut_off == pytest.approx(1)


def test_the_vote_reports_its_cost() -> None:
    vote = after_one(0.5, 0.3, 0.2).vote("a", seed=1)
    assert (vote.rows, vote.rows_unmerged) == (4, 600)
    assert 0 < vote.seconds < 60
    assert vote.seed == 1
    assert (vote.method, vote.reason) == ("sample", "drawn")


def test_the_time_of_the_stopping_rule_is_part_of_the_vote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = 0

    def slow(first: int, second: int) -> float:
        nonlocal asked
        asked += 1
        time.sleep(0.05)
        return 0.0

    monkeypatch.setattr("cpm_lm.generation.vote.posterior_lead", slow)
    vote = after_one(0.9, 0.1).vote("a", seed=1, n=20, confidence=0.9)
    assert asked > 1
    assert vote.seconds >= 0.05 * asked


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 0}, "n is 0"),
        ({"stop": ""}, "stop string ''"),
        ({"stop": "?"}, "can never appear"),
        ({"answer": "("}, "does not compile"),
        ({"answer": "(a+)+b"}, "could take very long"),
        ({"answer": "(?x) ( # x"}, "does not compile"),
        ({"answer": "(?L)a"}, "does not compile"),
        ({"answer": "a", "match": "all"}, "match is 'all'; expected 'first' or 'last'"),
        ({"match": "last"}, "match is 'last' and answer is None"),
        ({"method": "guess"}, "method is 'guess'"),
        ({"budget": 0, "method": "exact"}, "budget is 0"),
        ({"budget": 9}, "budget needs method 'exact'"),
        ({"confidence": 0.4}, "confidence is 0.4"),
        ({"confidence": 1}, "confidence is 1"),
        ({"confidence": 0.9, "method": "stratified"}, "confidence needs method 'sample'"),
        ({"confidence": 0.9, "overflow": "slide"}, "confidence needs overflow 'stop'"),
        ({"method": "exact", "overflow": "slide"}, "needs overflow 'stop'"),
    ],
)
def test_bad_options_are_refused_before_anything_is_computed(
    options: dict[str, Any], said: str
) -> None:
    subject = model()
    with pytest.raises(RequestError, match=re.escape(said)):
        subject.vote("a", **options)
    assert not subject.engine.sessions  # type: ignore[attr-defined]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("method", ["sample", "stratified", "exact"])
def test_logits_that_are_not_numbers_end_every_vote(
    method: Method, temperature: float, depth: int, bad: float
) -> None:
    # An exact vote answered '' with a share of NaN.
    spread = hashed(len(LETTERS), 1.5)
    asked = model(lambda path: [bad] * len(LETTERS) if len(path) == depth else spread(path))
    with pytest.raises(EngineError, match="not finite"):
        asked.vote("a", method=method, temperature=temperature, seed=1)


@pytest.mark.long
@pytest.mark.parametrize("method", ["sample", "stratified", "exact"])
def test_a_prompt_or_a_memory_that_does_not_fit_is_refused(method: Method) -> None:
    subject = model()
    node = subject.engine.config.node_bytes + (method == "exact") * row_bytes(len(LETTERS))
    with pytest.raises(RequestError, match="has 64 tokens; the model's context of 64"):
        subject.vote("a" * 64, method=method)
    with pytest.raises(CapacityError, match=f"needs {4 * node} bytes for 4"):
        subject.vote("a", method=method, max_tokens=4, memory=4 * node - 1)
    small = subject.vote("a", method=method, max_tokens=4, memory=4 * node, seed=1)
    assert sums_to_one(small)
    if method != "exact":
        assert small.tally == subject.vote("a", method=method, max_tokens=4, seed=1).tally
    else:
        assert small.rows <= 4


def test_voting_options_equal_the_parameters_of_vote() -> None:
    import dataclasses
    import inspect

    call = inspect.signature(Model.vote).parameters
    for field in dataclasses.fields(VotingOptions):
        assert field.metadata["help"]
        if field.name not in ("aliases", "bias"):  # their default is made anew
            assert call[field.name].default == field.default

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpm_lm.config import GPTConfig
from cpm_lm.decoding import best_first as search_module
from cpm_lm.decoding import frontier as module
from cpm_lm.decoding.best_first import Found, best_first
from cpm_lm.decoding.sampling import Limits
from cpm_lm.decoding.scheduler import run
from cpm_lm.distributions.draw import probabilities
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.base import HostSession
from cpm_lm.errors import CapacityError, RequestError
from tests.support.fakes import FakeEngine, hashed, log

PIECES = ["", "a", "b", "ab", "."]  # 0 ends; "ab" has two paths; "." is a stop string
PROMPT = [1, 2]
RULES = Rules(temperature=0.9, top_p=0.95)


def read(ids: tuple[int, ...], finished: bool) -> str | None:
    text = "".join(PIECES[i] for i in ids)
    if "." in text or finished:
        return text.partition(".")[0]
    return None


def enumerate_answers(
    next_logits: Callable[[tuple[int, ...]], Any], longest: int, rules: Rules
) -> tuple[dict[str, float], float]:
    """The exact masses of all answers, by enumeration; the mass cut off by the length limit."""
    answers: dict[str, float] = {}
    cut_off = 0.0
    open_: list[tuple[tuple[int, ...], float]] = [((), 1.0)]
    while open_:
        path, mass = open_.pop()
        row = probabilities(np.array([next_logits((*PROMPT, *path))], np.float32), rules)[0]
        for token, p in enumerate(row.tolist()):
            ids = path if token == 0 else (*path, token)
            answer = read(ids, token == 0)
            if answer is not None:
                answers[answer] = answers.get(answer, 0.0) + mass * p
            elif len(ids) == longest:
                cut_off += mass * p
            elif p:
                open_.append((ids, mass * p))
    return answers, cut_off


def find(next_logits: Any, longest: int, rules: Rules = RULES, **more: Any) -> Found:
    engine = FakeEngine(next_logits, len(PIECES))
    more = {"rows": 10_000, "tolerance": 0.0, "capacity": 1 << 14, **more}
    session = engine.session(more["capacity"])
    limits = Limits(max_tokens=longest, n_positions=64, end_ids={0}, capacity=more.pop("capacity"))
    found = run(session, best_first(PROMPT, rules=rules, limits=limits, answer_of=read, **more))
    assert session.live == 0
    assert session.rows == found.rows
    return found


@pytest.mark.parametrize("key", range(8))
@pytest.mark.parametrize("rows", [2, 3, 10, 40, 10_000])
@pytest.mark.parametrize("width", [1, 64])
def test_the_bounds_contain_the_exact_mass(key: int, rows: int, width: int) -> None:
    def next_logits(path: tuple[int, ...]) -> Any:
        return hashed(5)((key, *path))

    answers, cut_off = enumerate_answers(next_logits, 4, RULES)
    found = find(next_logits, 4, rows=rows, width=width)
    assert found.rows <= rows
    assert found.cut_off <= cut_off + 1e-12
    for answer, mass in answers.items():
        low = found.masses.get(answer, 0.0)
        assert low - 1e-12 <= mass <= low + found.unexplored + 1e-12
    total = sum(found.masses.values()) + found.cut_off + found.unexplored
    assert total == pytest.approx(1, abs=1e-12)
    if found.reason == "proven":
        assert next(iter(found.masses)) == max(answers, key=answers.__getitem__)
    assert list(found.masses.values()) == sorted(found.masses.values(), reverse=True)


def test_two_paths_of_one_text_are_one_answer() -> None:
    # a(0.3) then b, or ab(0.4), or b(0.3): each ends at once.
    def next_logits(path: tuple[int, ...]) -> list[float]:
        return {
            (): log(0, 0.3, 0.3, 0.4, 0),
            (1,): log(0, 0, 1, 0, 0),
        }.get(path[2:], log(1, 0, 0, 0, 0))

    found = find(next_logits, 4, Rules(temperature=1, top_p=1))
    assert found.masses["ab"] == pytest.approx(0.7, abs=1e-6)
    assert found.reason == "proven"


def test_the_winner_is_proven_before_all_texts_are_explored() -> None:
    def next_logits(path: tuple[int, ...]) -> list[float]:
        return log(0.6, 0.1, 0.1, 0.1, 0.1)

    found = find(next_logits, 8, Rules(temperature=1, top_p=1), width=1)
    assert (found.reason, found.rows) == ("proven", 2)
    assert found.masses[""] >= 0.6 - 1e-6


def test_a_tie_is_explored_but_not_proven() -> None:
    def next_logits(path: tuple[int, ...]) -> list[float]:
        return log(0, 0.5, 0.5, 0, 0) if len(path) == 2 else log(1, 0, 0, 0, 0)

    found = find(next_logits, 4, Rules(temperature=1, top_p=1), tolerance=1e-9)
    assert found.reason == "explored"
    assert found.masses == pytest.approx({"a": 0.5, "b": 0.5})


def test_texts_cut_off_by_the_length_limit_have_no_answer() -> None:
    found = find(lambda _: log(0, 1, 0, 0, 0), 3, Rules(temperature=1, top_p=1))
    assert (found.masses, found.reason) == ({}, "explored")
    assert found.cut_off == pytest.approx(1)
    assert found.rows == len(PROMPT) + 2


def test_a_small_budget_gives_bounds() -> None:
    found = find(hashed(5), 6, rows=1)
    assert (found.masses, found.unexplored, found.rows) == ({}, 1.0, 0)
    assert found.reason == "budget"


def test_a_small_capacity_gives_bounds() -> None:
    even = Rules(temperature=1, top_p=1)
    found = find(lambda _: log(0.2, 0.3, 0.3, 0.1, 0.1), 6, even, capacity=9)
    assert found.rows == 9
    assert found.reason == "budget"
    with pytest.raises(CapacityError, match="needs 2 nodes, of 1"):
        find(hashed(5), 6, capacity=1)


class Frontier(module.Frontier):
    """Counts the texts taken, and how often children were dropped."""

    taken = drops = 0

    def _assign(self, path: tuple[int, ...], token: int, mass: float) -> bool:
        Frontier.taken += 1
        return super()._assign(path, token, mass)

    def _bound(self, vocab_size: int) -> None:
        before = self._kept
        super()._bound(vocab_size)
        Frontier.drops += self._kept < before
        most = min(vocab_size, module.CHILDREN_PER_ROW) * self._limits.capacity + vocab_size
        assert self._kept == sum(len(leaf) for _, _, leaf in self._heap) <= most
        assert all(-heavy == leaf.next_mass() > 0 for heavy, _, leaf in self._heap)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Frontier]:
    Frontier.taken = Frontier.drops = 0
    monkeypatch.setattr(search_module, "Frontier", Frontier)
    monkeypatch.setattr(module, "ANSWER_CHILDREN", 0)
    return Frontier


def search(key: int, size: int, spread: float, rows: int) -> Found:
    """A search of a random model in which a path that ends in 3 is an answer."""

    def following(path: tuple[int, ...]) -> Any:
        return hashed(size, spread)((key, *path))

    limits = Limits(max_tokens=4, n_positions=64, end_ids={0, 5}, capacity=rows)
    algorithm = best_first(
        PROMPT,
        rules=Rules(temperature=1, top_p=1),
        limits=limits,
        answer_of=lambda ids, ended: str(ids) if ended or ids[-1] == 3 else None,
        rows=rows,
        width=8,
    )
    return run(FakeEngine(following, size).session(rows), algorithm)


@pytest.mark.long
@pytest.mark.parametrize("spread", [0.5, 3.0])
@pytest.mark.parametrize("per_row", [1, 4])
def test_dropped_children_change_nothing_that_is_found(
    monkeypatch: pytest.MonkeyPatch, watched: type[Frontier], per_row: int, spread: float
) -> None:
    dropped = 0
    for key, rows, size in itertools.product(range(5), (8, 40), (8, 40)):
        monkeypatch.setattr(module, "CHILDREN_PER_ROW", 1 << 40)
        watched.taken = watched.drops = 0
        whole, taken = search(key, size, spread, rows), watched.taken
        assert not watched.drops
        monkeypatch.setattr(module, "CHILDREN_PER_ROW", per_row)
        part = search(key, size, spread, rows)
        dropped += watched.drops > 0
        kept = min(size, per_row) * rows + size
        if taken <= kept * 3 // 4:  # the search did not get through all that it kept
            assert part == whole
        total = sum(part.masses.values()) + part.cut_off + part.unexplored
        assert total == pytest.approx(1, abs=1e-9)
        for answer, mass in part.masses.items():
            assert mass <= whole.masses.get(answer, 0) + whole.unexplored + 1e-9
    assert dropped >= 5


def test_a_search_that_gets_through_all_it_kept_says_that_its_budget_is_spent(
    monkeypatch: pytest.MonkeyPatch, watched: type[Frontier]
) -> None:
    monkeypatch.setattr(module, "CHILDREN_PER_ROW", 1)
    flat = Rules(temperature=1, top_p=1)
    limits = Limits(max_tokens=3, n_positions=64, end_ids={0}, capacity=20)
    algorithm = best_first(
        PROMPT,
        rules=flat,
        limits=limits,
        answer_of=lambda ids, _: ids if len(ids) == 2 else None,
        rows=20,
    )
    found = run(FakeEngine(hashed(50, 0.1), 50).session(20), algorithm)
    assert watched.drops
    assert found.reason == "budget"
    assert sum(found.masses.values()) + found.unexplored == pytest.approx(1)


class Wide(HostSession):
    """A model of 30,000 pieces whose rows are flat: the worst for what is kept of them."""

    def _forward(self, tokens: Any, nodes: Any) -> Any:
        return tokens

    def _logits(self, hidden: Any, rows: Any) -> Any:
        base = np.random.default_rng(0).standard_normal(self.config.vocab_size, np.float32)
        return np.stack([np.roll(base, 977 * int(hidden[i])) for i in rows.tolist()])


@pytest.mark.long
@pytest.mark.parametrize("answers", [False, True])
def test_memory_stays_within_what_is_counted(answers: bool) -> None:
    # 16 bytes a piece were kept of every row: 480 kB a row, beside keys and values of 64 bytes.
    config = GPTConfig(vocab_size=30_000, n_positions=64, n_embd=8, n_layer=1, n_head=1)
    capacity = 300
    counted = capacity * (config.node_bytes + module.row_bytes(config.vocab_size))
    assert counted < 5e6
    session = Wide(config, capacity)
    limits = Limits(max_tokens=9, n_positions=64, end_ids={0}, capacity=capacity)
    algorithm = best_first(
        [1],
        rules=Rules(temperature=1, top_p=1),
        limits=limits,
        answer_of=lambda ids, _: ids if answers and ids[-1] % 2 else None,
        rows=capacity,
    )
    tracemalloc.start()
    try:
        found = run(session, algorithm)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.rows == capacity
    assert found.reason == "budget"
    assert peak < counted + STEP_BYTES


STEP_BYTES = 30e6
"""What one step takes beside: 64 rows of logits and their copies, and the first row's children."""


def test_a_sliding_context_is_refused() -> None:
    limits = Limits(max_tokens=3, n_positions=8, end_ids=(), slide=True)
    algorithm = best_first([1], rules=RULES, limits=limits, answer_of=read, rows=9)
    with pytest.raises(RequestError, match="'slide'"):
        run(FakeEngine(hashed(5), 5).session(64), algorithm)

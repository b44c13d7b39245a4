"""Tests of wants for every engine: subclass `EngineContract`.

The expected values come from the engine's own logits and the formulas in this file.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from cpm_lm.distributions.edits import Edits
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.base import Engine, Session
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import Draws, Logits, LogProbs
from cpm_lm.errors import RequestError

PLAIN = Rules(temperature=1, top_p=1)
SHARP = Rules(temperature=0.5, top_p=0.8, top_k=5)
GREEDY = Rules(temperature=0)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    scores = logits.astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def chosen(logits: np.ndarray, rules: Rules, u: float) -> tuple[int, float, float]:
    """The token and the interval that contain u, id by id."""
    masses = np.exp(log_softmax(logits[None])[0] / (rules.temperature or 1))
    masses /= masses.sum()
    order = sorted(range(len(masses)), key=lambda i: (-masses[i], i))
    kept, reached = [], 0.0
    for i in order[: rules.top_k or None]:
        kept.append(i)
        reached += masses[i]
        total = sum(masses[j] for j in order[: rules.top_k or None])
        if reached >= rules.top_p * total - 1e-15:
            break
    if rules.temperature == 0:
        kept = order[:1]
    whole = math.fsum(masses[i] for i in kept)
    low = 0.0
    for i in sorted(kept):
        high = low + masses[i] / whole
        if u < high:
            return i, low, high
        low = high
    return max(kept), low, 1.0


class EngineContract:
    """Tests for any engine with at least 12 ids and 24 positions; `engine` is a fixture."""

    tolerance = 1e-5
    """The largest difference of logits between two calls with the same tokens."""

    def grown(self, engine: Engine, count: int = 9) -> tuple[Session, Any, Any, np.ndarray]:
        """A new session, tokens, their parents, and all logits, from another session."""
        tokens = np.arange(count, dtype=np.int32) * 5 % engine.config.vocab_size
        parents = chain(count)
        parents[count // 2] = -3  # a second branch
        everything = np.arange(count, dtype=np.int32)
        _, logits = engine.session(64).extend(tokens, parents, logits_at=everything)
        return engine.session(64), tokens, parents, logits

    def test_wanted_logits_equal_those_of_logits_at(self, engine: Engine) -> None:
        session, tokens, parents, logits = self.grown(engine)
        _, (found,) = session.extend(tokens, parents, [Logits(ints(7, 0, 3, 0))])
        np.testing.assert_allclose(found, logits[[7, 0, 3, 0]], atol=self.tolerance)

    def test_draws_invert_the_cdf_of_each_row_with_its_rules(self, engine: Engine) -> None:
        session, tokens, parents, logits = self.grown(engine)
        u = [np.array(row) for row in ([0.1, 0.95], [], [0.5], [0.0, 0.3, 0.999])]
        rules = [PLAIN, SHARP, GREEDY, SHARP]
        at = ints(8, 1, 2, 4)
        _, (drawn,) = session.extend(tokens, parents, [Draws(at, rules, u)])
        expected = [
            (*chosen(logits[row], rule, number), log_softmax(logits)[row])
            for row, rule, numbers in zip(at, rules, u, strict=True)
            for number in numbers
        ]
        assert drawn.tokens.tolist() == [token for token, *_ in expected]
        assert drawn.tokens.dtype == np.int32
        near = 10 * self.tolerance
        np.testing.assert_allclose(drawn.low, [low for _, low, _, _ in expected], atol=near)
        np.testing.assert_allclose(drawn.high, [high for _, _, high, _ in expected], atol=near)
        logprobs = [row[token] for token, _, _, row in expected]
        np.testing.assert_allclose(drawn.logprobs, logprobs, atol=near)

    def test_logprobs_are_those_of_the_unfiltered_model(self, engine: Engine) -> None:
        session, tokens, parents, logits = self.grown(engine)
        want = LogProbs(ints(5, 2, 8), [ints(3, 3, 0), ints(), ints(11)], top=4)
        _, (scored,) = session.extend(tokens, parents, [want])
        exact = log_softmax(logits)
        expected = [exact[5, 3], exact[5, 3], exact[5, 0], exact[8, 11]]
        near = 10 * self.tolerance
        np.testing.assert_allclose(scored.logprobs, expected, atol=near)
        for at, ids, top in zip((5, 2, 8), scored.top_ids, scored.top_logprobs, strict=True):
            order = sorted(range(len(exact[at])), key=lambda i: (-exact[at, i], i))
            assert ids.tolist() == order[:4]
            np.testing.assert_allclose(top, exact[at, order[:4]], atol=near)

    def test_one_call_answers_many_wants(self, engine: Engine) -> None:
        session, tokens, parents, logits = self.grown(engine)
        wants = [
            Logits(ints(4)),
            Draws(ints(4, 6), [PLAIN, GREEDY], [np.array([0.2]), np.array([0.7])]),
            Logits(ints()),
            LogProbs.of_each(ints(6, 7), ints(1, 2)),
            Draws(ints(), [], []),
        ]
        _, answers = session.extend(tokens, parents, wants)
        np.testing.assert_allclose(answers[0], logits[[4]], atol=self.tolerance)
        first, second = chosen(logits[4], PLAIN, 0.2)[0], int(logits[6].argmax())
        assert answers[1].tokens.tolist() == [first, second]
        assert answers[2].shape == (0, engine.config.vocab_size)
        exact = log_softmax(logits)
        expected = [exact[6, 1], exact[7, 2]]
        np.testing.assert_allclose(answers[3].logprobs, expected, atol=10 * self.tolerance)
        assert len(answers[4].tokens) == 0

    def test_slices_equal_one_call(self, engine: Engine) -> None:
        session, tokens, parents, _ = self.grown(engine, 20)
        u = [np.array([0.3, 0.6]), np.array([0.9]), np.array([0.1])]
        wants = [
            Draws(ints(19, 2, 11), [PLAIN] * 3, u),
            LogProbs(ints(3, 17), [ints(1), ints(2, 4)], top=2),
            Logits(ints(18, 0)),
        ]
        _, whole = session.extend(tokens, parents, wants)
        cut = engine.session(64)
        cut.slice_tokens = 7
        _, parts = cut.extend(tokens, parents, wants)
        assert parts[0].tokens.tolist() == whole[0].tokens.tolist()
        assert parts[1].top_ids.tolist() == whole[1].top_ids.tolist()
        near = 10 * self.tolerance
        for name in ("low", "high", "logprobs"):
            np.testing.assert_allclose(getattr(parts[0], name), getattr(whole[0], name), atol=near)
        np.testing.assert_allclose(parts[1].logprobs, whole[1].logprobs, atol=near)
        np.testing.assert_allclose(parts[2], whole[2], atol=near)

    def test_edits_come_before_the_rules_in_one_call_and_in_slices(self, engine: Engine) -> None:
        session, tokens, parents, logits = self.grown(engine, 20)
        at, u = ints(19, 2, 11), np.array([0.0, 0.4, 0.99])
        likeliest = logits[at].argmax(axis=1)
        edits = [
            Edits.of([0, 1], likeliest[:2], [2.0, 1.0], [-1.0, -np.inf]),
            Edits.of([1, 2], [3, 5], [1.0, 1.0], [30.0, 4.0]),
        ]
        edited = logits[at].astype(np.float64)
        for each in edits:
            each.apply(edited)
        want = Draws(at, [PLAIN, GREEDY, SHARP], [u] * 3, edits)
        cut = engine.session(64)
        cut.slice_tokens = 7
        for some in (session, cut):
            _, (drawn,) = some.extend(tokens, parents, [want])
            expected = [
                chosen(row, rules, number)[0]
                for row, rules in zip(edited, want.rules, strict=True)
                for number in u
            ]
            assert drawn.tokens.tolist() == expected
            raw = [row for row in log_softmax(logits)[at] for _ in u]
            logprobs = [row[token] for row, token in zip(raw, expected, strict=True)]
            np.testing.assert_allclose(drawn.logprobs, logprobs, atol=10 * self.tolerance)

    def test_the_list_of_wants_may_be_empty(self, engine: Engine) -> None:
        session, tokens, parents, _ = self.grown(engine)
        nodes, answers = session.extend(tokens, parents, [])
        assert (len(nodes), answers) == (9, [])
        assert session.live == 9

    @pytest.mark.parametrize(
        "want",
        [
            Logits(ints(9)),
            Draws(ints(-1), [PLAIN], [np.array([0.5])]),
            LogProbs(ints(0), [ints(10**6)]),
            Draws(ints(0), [PLAIN], [np.array([0.5])], [Edits.of([0], [10**6], [1.0], [1.0])]),
            Draws(ints(0), [PLAIN], [np.array([0.5])], [Edits.of([1], [0], [1.0], [1.0])]),
        ],
    )
    def test_an_index_or_id_out_of_range_is_refused(self, engine: Engine, want: Any) -> None:
        session, tokens, parents, _ = self.grown(engine)
        with pytest.raises(RequestError, match="expected 0 to"):
            session.extend(tokens, parents, [want])
        assert session.live == 0

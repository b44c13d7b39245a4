"""The generate program of an exported model: its distribution and its end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cpm_lm.distributions.draw import probabilities
from cpm_lm.distributions.rules import Rules
from cpm_lm.gpt import generating
from cpm_lm.gpt.generating import draw
from cpm_lm.gpt.gpt import GPT
from tests.support.small_gpt import UNLIKELY, Calls, greedy, small_gpt

PROMPTS = np.array([[3, 1, 4], [1, 5, 9], [2, 6, 5]])


@pytest.fixture(scope="module")
def model() -> GPT:
    return small_gpt()


@pytest.fixture(scope="module")
def calls(model: GPT) -> Calls:
    return Calls(model)


def chi_square(counts: np.ndarray, masses: np.ndarray) -> float:
    """The chi-square statistic, in standard deviations above its mean."""
    expected = counts.sum() * masses
    used = expected > 0
    assert not counts[~used].any()
    freedom = used.sum() - 1
    statistic = ((counts - expected)[used] ** 2 / expected[used]).sum()
    return float((statistic - freedom) / np.sqrt(2 * freedom))


@pytest.mark.parametrize("length", [1, 2, 7, 17])
def test_greedy_with_and_without_cache_is_the_same(model: GPT, calls: Calls, length: int) -> None:
    assert np.array_equal(calls(PROMPTS, length, temperature=0), greedy(model, PROMPTS, length))


@pytest.mark.parametrize("given", [1, 2, 19])
def test_prompts_of_any_length(model: GPT, calls: Calls, given: int) -> None:
    ids = np.arange(given)[None] % 20
    assert np.array_equal(calls(ids, 1, temperature=0), greedy(model, ids, 1))


def test_a_tiny_nucleus_is_greedy_at_any_temperature(model: GPT, calls: Calls) -> None:
    for top_p in (1e-6, 0.0):
        found = calls(PROMPTS, 6, top_p=top_p, temperature=3.0)
        assert np.array_equal(found, greedy(model, PROMPTS, 6))


@pytest.mark.parametrize(
    "rules",
    [
        Rules(temperature=1, top_p=1),
        Rules(temperature=1.7, top_p=1),
        Rules(temperature=0.7, top_p=0.8),
    ],
)
def test_the_first_token_has_the_right_distribution(model: GPT, calls: Calls, rules: Rules) -> None:
    ids = np.repeat(PROMPTS[:1], 4000, 0)
    found = calls(ids, 1, rules.top_p, rules.temperature, seed=11)[:, -1]
    expected = probabilities(np.asarray(model(PROMPTS[:1]))[:, -1], rules)[0]
    assert chi_square(np.bincount(found, minlength=24), expected) < 4


def test_the_second_token_has_the_right_distribution(model: GPT, calls: Calls) -> None:
    found = calls(np.repeat(PROMPTS[:1], 6000, 0), 2, seed=5)[:, 3:]
    likely = np.bincount(found[:, 0]).argmax()
    second = found[found[:, 0] == likely, 1]
    after = np.array([[*PROMPTS[0], likely]])
    expected = probabilities(np.asarray(model(after))[:, -1], Rules(temperature=1, top_p=1))[0]
    assert len(second) > 500
    assert chi_square(np.bincount(second, minlength=24), expected) < 4


def test_a_seed_makes_samples_repeatable(calls: Calls) -> None:
    ids = np.repeat(PROMPTS, 8, 0)
    assert np.array_equal(calls(ids, 9, seed=3), calls(ids, 9, seed=3))
    assert not np.array_equal(calls(ids, 9, seed=3), calls(ids, 9, seed=4))
    arguments = (tf.constant(ids, tf.int64), tf.constant(9, tf.int64), tf.ones([]), tf.ones([]))
    full = calls.signatures["serving_default"]
    tf.random.set_seed(0)
    first = full(*arguments).numpy()
    tf.random.set_seed(0)
    assert not np.array_equal(first, full(*arguments).numpy())
    rows = calls(np.repeat(PROMPTS[:1], 8, 0), 9, seed=3)
    assert len({tuple(row) for row in rows}) > 1  # rows are independent


def ending(texts: np.ndarray) -> int:
    """An id that the first text alone has, after its first token."""
    return next(int(t) for t in texts[0, 4:] if t not in texts[1:] and t != texts[0, 3])


def test_rows_end_separately_and_are_padded(model: GPT) -> None:
    texts = greedy(model, PROMPTS, 12)
    end, other = ending(texts), int(texts[1, 9])
    found = Calls(model, (end, other))(PROMPTS, 12, temperature=0)
    assert found.shape == (3, 15)
    sizes = set()
    for row, text in zip(found, texts, strict=True):
        places = [i for i, token in enumerate(text) if i >= 3 and token in (end, other)]
        sizes.add(size := places[0] + 1 if places else 15)
        assert np.array_equal(row[:size], text[:size])
        assert (row[size:] == end).all()
    assert len(sizes) > 1


def test_an_end_token_in_the_prompt_ends_nothing(model: GPT) -> None:
    texts = greedy(model, PROMPTS, 2)
    found = Calls(model, (int(PROMPTS[0, 0]),))(PROMPTS[:1], 2, temperature=0)
    assert np.array_equal(found[0, :4], texts[0, :4])


def test_generation_stops_when_all_rows_have_ended(
    model: GPT, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    real = generating._Program.step

    def counted(self: Any, last: Any, *rest: Any) -> Any:
        with tf.control_dependencies([tf.py_function(lambda: steps.append(1), [], [])]):
            last = tf.identity(last)
        return real(self, last, *rest)

    monkeypatch.setattr(generating._Program, "step", counted)
    texts = greedy(model, PROMPTS, 12)
    end = ending(texts)
    Calls(model)(PROMPTS[:1], 12, temperature=0)
    assert len(steps) == 11  # the last token is not computed
    steps.clear()
    Calls(model, (end,))(PROMPTS[:1], 12, temperature=0)
    assert len(steps) == list(texts[0, 3:]).index(end)


def test_compat_draws_one_token_more(model: GPT, calls: Calls) -> None:
    more = Calls(model, extra=1)
    found = more(PROMPTS, 6, temperature=0)
    assert found.shape == (3, 10)
    assert np.array_equal(found, calls(PROMPTS, 7, temperature=0))
    assert more(PROMPTS, 0).shape == (3, 4)
    assert more(PROMPTS, 17).shape == (
        3,
        21,
    )  # the limit of the context; the last token is not computed
    assert np.array_equal(calls(PROMPTS, 0), PROMPTS)


def test_each_row_may_have_its_own_arguments(calls: Calls) -> None:
    found = calls(PROMPTS, [2, 9, 0], temperature=[0, 0, 0])
    whole = calls(PROMPTS, 9, temperature=0)
    assert np.array_equal(found[1], whole[1])
    assert np.array_equal(found[0], [*whole[0, :5], *[UNLIKELY] * 7])
    assert np.array_equal(found[2], [*PROMPTS[2], *[UNLIKELY] * 9])
    mixed = calls(PROMPTS, 9, top_p=[1, 0, 1], temperature=[0, 2, 2])
    assert np.array_equal(mixed[:2], whole[:2])
    assert np.array_equal(calls(PROMPTS, [9], top_p=[1], temperature=[0]), whole)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"length": 18}, r"exceed the context of 20 positions.*\[3\] \[18\]"),
        ({"length": [1, 18, 1]}, "exceed the context"),
        ({"length": 2**63 - 1}, "exceed the context"),
        ({"length": -1}, r"length is negative:\] \[-1\]"),
        ({"inp": np.zeros((1, 0))}, "inp has no ids"),
        ({"inp": [[0, 24]]}, "ids that are not 0 to 23"),
        ({"inp": [[-1, 1]]}, "ids that are not 0 to 23"),
        ({"top_p": 1.5}, r"top_p is not 0 to 1:\] \[1.5\]"),
        ({"top_p": float("nan")}, "top_p is not 0 to 1"),
        ({"temperature": -1}, r"temperature is negative or not finite:\] \[-1\]"),
        ({"temperature": float("inf")}, "temperature is negative or not finite"),
        ({"temperature": [1, 1]}, "ncompatible shapes"),
    ],
)
def test_arguments_out_of_range_are_refused(
    calls: Calls, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        calls(**{"inp": PROMPTS, "length": 2, **arguments})


def test_zero_rows_are_allowed(calls: Calls) -> None:
    assert calls(np.zeros((0, 3)), 2).shape == (0, 5)


@pytest.mark.parametrize(
    ("top_p", "allowed"),
    [(0.49, {2}), (0.51, {2, 0}), (0.81, {2, 0, 1}), (1.0, {0, 1, 2, 3})],
)
def test_the_nucleus_includes_the_token_that_crosses_top_p(top_p: float, allowed: set[int]) -> None:
    logits = tf.math.log(tf.repeat([[0.3, 0.15, 0.5, 0.05]], 600, 0))
    ones = tf.ones([600])
    found = draw(logits, top_p * ones, ones, tf.constant([1, 2], tf.int64)).numpy()
    assert set(found.tolist()) == allowed


def test_ties_are_ordered_by_id() -> None:
    logits = tf.constant([[1.0, 2, 2, 2, 0]])
    seed = tf.constant([0, 0], tf.int64)
    assert draw(logits, tf.ones([1]), tf.zeros([1]), seed).numpy() == [1]
    for at in range(20):
        seed = tf.constant([at, 0], tf.int64)
        assert draw(logits, tf.constant([0.4]), tf.constant([0.1]), seed).numpy() in (1, 2)


def test_the_first_ports_arguments_and_ids_stay(model: GPT) -> None:
    """The ids were recorded before there were masks; the loop must give them to the bit."""
    drawn = Calls(model, (7, UNLIKELY), extra=1)
    assert drawn(PROMPTS, 5, top_p=0.95, seed=4).tolist() == [
        [3, 1, 4, 19, 12, 7, 7, 7, 7],
        [1, 5, 9, 17, 9, 9, 22, 22, 19],
        [2, 6, 5, 12, 7, 7, 7, 7, 7],
    ]
    drawn = Calls(model, (7, UNLIKELY))
    assert drawn(PROMPTS, [3, 17, 8], seed=2).tolist() == [
        [3, 1, 4, 17, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
        [1, 5, 9, 21, 3, 17, 18, 0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
        [2, 6, 5, 17, 20, 9, 22, 19, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
    ]
    assert drawn(PROMPTS, 12, [0.9, 1, 0.5], [0.9, 0, 1.5], seed=7).tolist() == [
        [3, 1, 4, 2, 13, 8, 8, 22, 4, 8, 19, 19, 19, 22, 21],
        [1, 5, 9, 17, 17, 17, 22, 22, 18, 22, 4, 19, 22, 22, 16],
        [2, 6, 5, 12, 17, 22, 4, 22, 4, 22, 19, 13, 22, 22, 16],
    ]
    inp, length = tf.TensorSpec([None, None], tf.int64), tf.TensorSpec(None, tf.int64)
    rule, seed = tf.TensorSpec(None, tf.float32), tf.TensorSpec([], tf.int64)
    four = {"inp": inp, "length": length, "top_p": rule, "temperature": rule}
    expected = {"serving_default": four, "seeded": four | {"seed": seed}, "logits": {"inp": inp}}
    assert {name: arguments(drawn, name) for name in expected} == expected
    short = Calls(model, short=True)
    assert arguments(short, "serving_default") == {"inp": inp, "length": length}


def arguments(calls: Calls, signature: str) -> dict[str, tf.TensorSpec]:
    """What a signature takes: by name, in order, without the specifications' own names."""
    specs, _ = calls.signatures[signature].get_concrete_function().structured_input_signature
    return {spec.name: tf.TensorSpec(spec.shape, spec.dtype) for spec in specs}


def loops(graph: Any) -> list[Any]:
    """The loops of a graph and of the functions that it calls."""
    found = []
    for op in graph.get_operations():
        if op.type in ("While", "StatelessWhile"):
            found.append(graph._get_function(op.get_attr("body").name).graph)
        elif "PartitionedCall" in op.type:
            found += loops(graph._get_function(op.get_attr("f").name).graph)
    return found


@pytest.mark.parametrize("signature", ["seeded", "padded_seeded"])
def test_the_cache_is_one_tensor_written_in_place(calls: Calls, signature: str) -> None:
    (body,) = loops(calls.signatures[signature].get_concrete_function().graph)
    kinds = [op.type for op in body.get_operations()]
    assert kinds.count("InplaceUpdate") == 1
    (update,) = [op for op in body.get_operations() if op.type == "InplaceUpdate"]
    assert update.inputs[0].op.type == "Placeholder"  # the loop's variable, not a copy of it
    assert "PadV2" not in kinds
    assert "Pad" not in kinds

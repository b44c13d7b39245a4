"""Batches padded to one width, continued by an exported model: each row as if it were alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpm_lm.config import GPTConfig
from cpm_lm.gpt.gpt import GPT
from tests.support.small_gpt import SMALL, UNLIKELY, Calls, greedy, small_gpt
from tests.support.tolerances import LOGITS

P = SMALL.n_positions
PROMPTS = [[3, 1, 4, 1, 5], [9], [2, 6, 5]]
OTHER = GPTConfig(vocab_size=24, n_positions=P, n_embd=24, n_layer=3, n_head=4)
FEW = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def model() -> GPT:
    return small_gpt()


@pytest.fixture(scope="module")
def calls(model: GPT) -> Calls:
    return Calls(model)


@pytest.fixture(scope="module", params=["two ends", "one token more"])
def any_calls(request: pytest.FixtureRequest) -> Calls:
    """Programs of which rows end early, of two models."""
    if request.param == "two ends":
        return Calls(small_gpt(), (4, 17))
    return Calls(small_gpt(OTHER, seed=77), (8, 2), extra=1)


def left(prompt: Sequence[int], width: int) -> int:
    return width - len(prompt)


def right(prompt: Sequence[int], width: int) -> int:
    return 0


def middle(prompt: Sequence[int], width: int) -> int:
    return (width - len(prompt)) // 2


def batch(
    prompts: Sequence[Sequence[int]], place: Any = left, pad: int = 0, wider: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Ids and mask, `wider` columns wider than the longest prompt."""
    width = max(map(len, prompts)) + wider
    ids, mask = np.full((len(prompts), width), pad), np.zeros((len(prompts), width), int)
    for row, prompt in enumerate(prompts):
        at = place(prompt, width)
        ids[row, at : at + len(prompt)] = prompt
        mask[row, at : at + len(prompt)] = 1
    return ids, mask


def filled(row: np.ndarray, width: int, end: int) -> np.ndarray:
    return np.pad(row, (0, width - len(row)), constant_values=end)


ROWS = st.lists(
    st.lists(st.integers(0, 22), min_size=1, max_size=P - 1), min_size=1, max_size=5
).flatmap(
    lambda prompts: st.tuples(
        st.just(prompts), st.tuples(*(st.integers(0, P - len(prompt)) for prompt in prompts))
    )
)


@FEW
@given(
    rows=ROWS,
    place=st.sampled_from([left, right, middle]),
    pad=st.sampled_from([0, 4, 17, UNLIKELY, 24, -1, -(2**63), 2**63 - 1]),
    wider=st.sampled_from([0, 1, 30]),
)
def test_each_row_is_the_row_alone(
    any_calls: Calls, rows: Any, place: Any, pad: int, wider: int
) -> None:
    """Greedy, with a budget for each row, up to the end of the context, and with ends."""
    prompts, lengths = rows
    ids, mask = batch(prompts, place, pad, wider)
    found = any_calls.padded(ids, mask, lengths, temperature=0)
    extra = any_calls([[0]], 0).shape[1] - 1
    end = 8 if extra else 4
    assert found.shape == (len(prompts), ids.shape[1] + max(lengths) + extra)
    for row, prompt, length in zip(found, prompts, lengths, strict=True):
        (alone,) = any_calls([prompt], length, temperature=0)
        assert np.array_equal(row, filled(alone, len(row), end))


def test_the_batch_without_a_mask_was_continued_wrongly(model: GPT, calls: Calls) -> None:
    """The fault: padding that is read as text changes what is drawn, on either side."""
    alone = [greedy(model, np.array([prompt]), 6)[0, len(prompt) :] for prompt in PROMPTS]
    for place in (left, right):
        ids, mask = batch(PROMPTS, place)
        read = calls(ids, 6, temperature=0)[:, ids.shape[1] :]
        assert np.array_equal(read[0], alone[0])  # the widest row has no padding
        assert not np.array_equal(read[1], alone[1])
        found = calls.padded(ids, mask, 6, temperature=0)
        for row, prompt, drawn in zip(found, PROMPTS, alone, strict=True):
            assert np.array_equal(row[len(prompt) : len(prompt) + 6], drawn)


@FEW
@given(rows=ROWS, seed=st.integers(-(2**63), 2**63 - 1), place=st.sampled_from([left, right]))
def test_a_rows_numbers_depend_on_its_place_only(
    any_calls: Calls, rows: Any, seed: int, place: Any
) -> None:
    """Row b draws what row b of a batch draws that is that row, again and again, unpadded."""
    prompts, lengths = rows
    rules = {"top_p": 0.9, "temperature": 1.3, "seed": seed}
    found = any_calls.padded(*batch(prompts, place), lengths, **rules)
    for b, (row, prompt, length) in enumerate(zip(found, prompts, lengths, strict=True)):
        same = any_calls([prompt] * (b + 1), length, **rules)[b]
        assert np.array_equal(row[: len(same)], same)


def test_how_it_is_padded_does_not_change_a_bit(calls: Calls) -> None:
    wanted = calls.padded(*batch(PROMPTS, wider=2), 9, seed=5)
    for place in (left, right, middle):
        for pad in (0, 9, UNLIKELY, 24, -100):
            ids, mask = batch(PROMPTS, place, pad, wider=2)
            assert np.array_equal(calls.padded(ids, mask, 9, seed=5), wanted)


def test_without_padding_it_is_the_signature_without_a_mask(calls: Calls) -> None:
    ids = np.arange(12).reshape(3, 4)
    expected = calls(ids, [16, 3, 0], seed=2)
    assert np.array_equal(calls.padded(ids, np.ones_like(ids), [16, 3, 0], seed=2), expected)


def test_rows_end_apart(model: GPT) -> None:
    alone = greedy(model, np.array([PROMPTS[1]]), 8)[0]
    end = int(alone[4])
    size = list(alone[1:]).index(end) + 2  # with the end
    found = Calls(model, (end,)).padded(*batch(PROMPTS), 8, temperature=0)
    assert np.array_equal(found[1], filled(alone[:size], found.shape[1], end))
    first = Calls(model, (end,))([PROMPTS[0]], 8, temperature=0)[0]
    assert np.array_equal(found[0], first)
    assert size < 9


def test_a_full_context_is_each_rows_own(calls: Calls) -> None:
    """5 and 15, 1 and 19, 3 and 17 are all 20; the columns are more than there are positions."""
    lengths = [P - len(prompt) for prompt in PROMPTS]
    ids, mask = batch(PROMPTS, wider=30)
    found = calls.padded(ids, mask, lengths, temperature=0)
    assert found.shape == (3, 35 + 19)
    for row, prompt, length in zip(found, PROMPTS, lengths, strict=True):
        assert np.array_equal(row[:P], calls([prompt], length, temperature=0)[0])
        assert (row[P:] == UNLIKELY).all()


def test_no_seed_of_the_process_decides(calls: Calls) -> None:
    ids, mask = batch(PROMPTS * 8)
    given = [*(tf.constant(x, tf.int64) for x in (ids, mask, 9)), tf.ones([]), tf.ones([])]
    tf.random.set_seed(0)
    first = calls.signatures["padded"](*given).numpy()
    tf.random.set_seed(0)
    second = calls.signatures["padded"](*given).numpy()
    assert not np.array_equal(first, second)
    for row, prompt in zip(first, PROMPTS * 8, strict=True):
        assert np.array_equal(row[: len(prompt)], prompt)


def test_no_rows_are_no_error() -> None:
    nothing = np.zeros((0, 3))
    for extra in (0, 1):
        calls = Calls(small_gpt(), extra=extra)
        assert calls.padded(nothing, nothing, 2).shape == (0, 5 + extra)


@pytest.mark.parametrize("signature", ["padded_seeded", "padded_logits"])
@pytest.mark.parametrize(
    ("mask", "says"),
    [
        ([[1, 0, 1], [1, 1, 1]], r"a 0 between ones.*\[0\]"),
        ([[1, 1, 1], [0, 0, 0]], r"mask has no 1.*\[1\]"),
        ([[1, 1, 1], [0, 2, 1]], r"other than 0 and 1:\] \[2\]"),
        ([[1, 1, 1], [0, -1, 1]], r"other than 0 and 1:\] \[-1\]"),
        ([[1, 1, 1]], r"not have the shape of inp.*\[2 3\] \[1 3\]"),
        ([[1, 1, 1, 1]] * 2, r"not have the shape of inp.*\[2 3\] \[2 4\]"),
        ([[1], [1]], r"not have the shape of inp.*\[2 3\] \[2 1\]"),
        ([[0, 0, 1], [0, 1, 1]], "ids that are not 0 to 23"),  # 24 at the end is no padding
    ],
)
def test_a_mask_that_does_not_fit_is_said(
    calls: Calls, signature: str, mask: Any, says: str
) -> None:
    given = [[0, 1, 2], [1, 2, 24]], mask, 2, 1.0, 1.0, 0
    kinds = tf.int64, tf.int64, tf.int64, tf.float32, tf.float32, tf.int64
    size = 2 if signature == "padded_logits" else None
    values = [tf.constant(*pair) for pair in zip(given, kinds, strict=True)][:size]
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        calls.signatures[signature](*values)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"length": [17, 18]}, r"exceed the context of 20 positions.*\[2 3\] \[17 18\]"),
        ({"length": 2**63 - 1}, "exceed the context"),
        ({"length": [1, -1]}, r"length is negative:\] \[1 -1\]"),
        ({"top_p": 1.5}, "top_p is not 0 to 1"),
        ({"temperature": -1.0}, "temperature is negative"),
        ({"inp": np.zeros((2, 0)), "mask": np.zeros((2, 0))}, "mask has no 1"),
    ],
)
def test_what_is_out_of_range_is_said(calls: Calls, arguments: dict[str, Any], says: str) -> None:
    values: dict[str, Any] = {"inp": [[9, 1, 2], [1, 2, 3]], "mask": [[0, 1, 1], [1, 1, 1]]}
    with pytest.raises(tf.errors.InvalidArgumentError, match=says):
        calls.padded(**(values | {"length": 2} | arguments))


def test_a_row_too_long_is_said_of_scores_too(calls: Calls) -> None:
    inp = tf.ones([1, 21], tf.int64)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"exceed the context of 20.*\[21\]"):
        calls.signatures["padded_logits"](inp, inp)


@pytest.mark.parametrize("place", [left, right, middle])
def test_scores_are_those_of_the_row_alone(model: GPT, calls: Calls, place: Any) -> None:
    ids, mask = batch(PROMPTS, place, pad=-1, wider=20)  # wider than the context
    given = (tf.constant(x, tf.int64) for x in (ids, mask))
    found = calls.signatures["padded_logits"](*given).numpy()
    assert found.shape == (*ids.shape, 24)
    assert np.isfinite(found).all()
    for row, prompt in zip(found, PROMPTS, strict=True):
        at = place(prompt, ids.shape[1])
        alone = np.asarray(model(np.array([[*prompt, 0]])))[0, :-1]
        assert np.abs(row[at : at + len(prompt)] - alone).max() < LOGITS["float32"]

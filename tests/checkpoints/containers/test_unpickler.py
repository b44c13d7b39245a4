"""Plain values are read as Python's own pickle reads them, in every protocol."""

from __future__ import annotations

import mmap
import pickle
import pickletools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.checkpoints.containers.unpickler import Pickle, unpickle
from cpm_lm.errors import CheckpointError


def read(data: bytes, start: int = 0) -> Pickle:
    mapped = mmap.mmap(-1, max(1, len(data)))
    mapped[: len(data)] = data
    return unpickle(mapped, start, len(data), "x")


text = st.text(st.characters(codec="utf-8"), max_size=20) | st.text(alphabet="\n\\'\"u00e9\ud800")
number = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)
key = text | number | st.none() | st.booleans() | st.tuples(text, number)
plain = st.recursive(
    key | st.integers(-(1 << 2000), 1 << 2000),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(key, inner, max_size=5)
        | st.tuples(inner)
        | st.tuples(inner, inner, inner)
        | st.lists(inner, max_size=5).map(tuple)
        | inner.map(lambda value: [value, value])  # one value in two places
    ),
    max_leaves=20,
)


@given(value=plain, protocol=st.integers(0, 5), short=st.booleans())
def test_plain_values_are_those_of_python(value: object, protocol: int, short: bool) -> None:
    data = pickle.dumps(value, protocol)
    data = pickletools.optimize(data) if short else data
    found = read(data + b"rest")
    assert repr(found.root) == repr(pickle.loads(data))  # repr tells 1 from True
    assert found.end == len(data)
    assert found.stand_ins == ()


@given(data=st.binary(max_size=300), protocol=st.integers(3, 5))
def test_bytes_are_those_of_python(data: bytes, protocol: int) -> None:
    assert read(pickle.dumps([data, data[:3]], protocol)).root == [data, data[:3]]
    if protocol == 5:
        assert read(pickle.dumps(bytearray(data), protocol)).root == data


@given(value=plain, draw=st.randoms(use_true_random=False))
def test_a_pickle_that_is_cut_off_is_refused(value: object, draw: random.Random) -> None:
    record = pickle.dumps(value, 2)
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read(record[: draw.randrange(len(record))])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (b"S'a\\n\\x41\\\\\\'\\q'\n.", "a\nA\\'\\q"),
        (b'S"it\'s"\n.', "it's"),
        (b"U\x02\xc3\xa9.", "é"),
        (b"U\x01\xe9.", b"\xe9"),
        (b"I01\n.", True),
        (b"I1\n.", 1),
        (b"L-5L\n.", -5),
        (b"(NNl.", [None, None]),
        (b"(K\x01Nd.", {1: None}),
        (b"(K\x01K\x020K\x03t.", (1, 3)),
        (b"K\x01(K\x021.", 1),
        (b"K\x012\x86.", (1, 1)),
    ],
)
def test_older_opcodes(record: bytes, expected: Any) -> None:
    found = read(record).root
    assert found == expected
    assert type(found) is type(expected)


def test_the_budget_grows_with_what_was_read() -> None:
    """A real file of many tensors must not meet it, wherever in the file its pickle lies."""
    many = [{"step": number, "name": f"layer.{number}.weight"} for number in range(40_000)]
    data = pickle.dumps(many, 2)
    assert read(bytes(1000) + data, 1000).root == many

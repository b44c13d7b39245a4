"""Damaged and malicious index files of TensorFlow's variables."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpm_lm.checkpoints.containers.crc32c import crc32c, masked
from cpm_lm.checkpoints.containers.tensor_bundle import MAGIC, Bundle
from cpm_lm.checkpoints.tensors import ShardedTensor
from cpm_lm.errors import CheckpointError
from cpm_lm.protobuf import fields, varint
from tests.support.examples import examples

HEADER = b"\x08\x01"
"""One file of numbers."""
CHECKSUM = b"\x35" + masked(crc32c(np.array([1, 2], np.float32).tobytes())).to_bytes(4, "little")
NUMBERS = b"\x08\x01\x12\x04\x12\x02\x08\x02\x28\x08" + CHECKSUM
"""Two float32, which are eight bytes, at the file's beginning."""

HUGE = b"\x08\x01\x12\x10\x12\x0a\x08" + b"\xff" * 8 + b"\x7f\x12\x02\x08\x00" + CHECKSUM
"""float32 of shape [2^63 - 1, 0]."""


def number(value: int) -> bytes:
    more, rest = [], value
    while rest >= 0x80:
        more.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*more, rest])


def block(entries: list[tuple[int, bytes, bytes]]) -> bytes:
    """A block of entries: bytes shared with the previous key, the rest of the key, the value."""
    body = b"".join(
        number(shared) + number(len(rest)) + number(len(value)) + rest + value
        for shared, rest, value in entries
    )
    return body + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def sealed(content: bytes, kind: int = 0) -> bytes:
    """A block with its type and its checksum."""
    data = content + bytes([kind])
    return data + masked(crc32c(data)).to_bytes(4, "little")


def table(*blocks: bytes, kind: int = 0, handles: list[bytes] | None = None) -> bytes:
    """An index file of these blocks."""
    data, found = b"", []
    for content in blocks:
        found.append(number(len(data)) + number(len(content)))
        data += sealed(content, kind)
    listing = block([(0, bytes([65 + i]), h) for i, h in enumerate(handles or found)])
    footer = number(0) + number(0) + number(len(data)) + number(len(listing))
    return data + sealed(listing) + footer.ljust(40, b"\0") + MAGIC


def opened(folder: Path, index: bytes) -> Bundle:
    (folder / "v.index").write_bytes(index)
    (folder / "v.data-00000-of-00001").write_bytes(np.array([1, 2], np.float32).tobytes())
    return Bundle(folder / "v.index")


def test_an_index_built_by_hand_is_read(tmp_path: Path) -> None:
    bundle = opened(tmp_path, table(block([(0, b"", HEADER), (0, b"abc", NUMBERS)])))
    assert bundle.tensor("abc").array.tolist() == [1, 2]
    bundle = opened(
        tmp_path,
        table(block([(0, b"", HEADER), (0, b"abc", NUMBERS), (2, b"d", NUMBERS)])),
    )
    assert list(bundle.entries) == ["abc", "abd"]


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (b"", "its footer is missing"),
        (table(block([(0, b"abc", NUMBERS)])), "damaged"),  # without a header
        (table(block([(0, b"", HEADER + b"\x10\x01")])), "big-endian"),
        (table(block([(0, b"", HEADER)]), kind=1), "compressed"),
        (table(block([(0, b"", HEADER), (0, b"b", NUMBERS), (0, b"a", NUMBERS)])), "not in order"),
        (table(block([(0, b"", HEADER), (0, b"a", NUMBERS), (1, b"", NUMBERS)])), "not in order"),
        (table(block([(0, b"", HEADER), (9, b"a", NUMBERS)])), "a block is damaged"),
        (table(block([(0, b"", HEADER)]), handles=[b"\0\4", b"\0\4"]), "damaged"),
        (table(block([(0, b"", HEADER)]), handles=[b"\0\xff\xff\xff\xff\xff\x7f"]), "truncated"),
        (table(block([(0, b"", HEADER), (0, b"a", NUMBERS + b"\x3a\x00")])), "in slices"),
        (table(block([(0, b"", HEADER), (0, b"a", NUMBERS + b"\x18\x01")])), "file 1 of 1"),
        (table(block([(0, b"", HEADER), (0, b"a", NUMBERS + b"\x20\x01")])), "truncated"),
        (
            table(block([(0, b"", HEADER), (0, b"a", b"\x08\x01\x28\x08" + CHECKSUM)])),
            "has 8 bytes",
        ),
        (
            table(block([(0, b"", HEADER), (0, b"a", b"\x0a\x01\x01" + CHECKSUM)])),
            "expected a number",
        ),
        (
            table(block([(0, b"", HEADER), (0, b"a", b"\x10\x01\x20\x00" + CHECKSUM)])),
            "expected a message",
        ),
        (table(block([(0, b"", HEADER), (0, b"\xff", NUMBERS)])), "damaged"),  # no UTF-8
        (table(block([(0, b"", HEADER), (0, b"a", HUGE)])), "has the shape"),
        (table(block([(0, b"", HEADER), (0, b"a", b"\x08\x01")])), "described in 2 bytes"),
        (
            table(block([(0, b"", HEADER)])).replace(HEADER, b"\x08\x02"),
            "differs from its checksum",
        ),
    ],
)
def test_a_bad_index_is_an_error_that_names_the_problem(
    tmp_path: Path, index: bytes, says: str
) -> None:
    with pytest.raises(CheckpointError, match=says):
        opened(tmp_path, index)


def test_keys_with_long_shared_prefixes_take_little_memory(tmp_path: Path) -> None:
    keys = [(1 << 16, i.to_bytes(3, "big"), b"") for i in range(20_000)]  # 1.3 GB if expanded
    index = table(block([(0, b"", HEADER), (0, b"a" * (1 << 16), b""), *keys]))
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="keys are too long"):
        opened(tmp_path, index)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * len(index)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    import tensorflow as tf  # slow to import

    folder = tmp_path_factory.mktemp("real")
    names = [f"layer/{i}/.ATTRIBUTES/VARIABLE_VALUE" for i in range(40)]
    tf.raw_ops.SaveV2(
        prefix=str(folder / "v"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.ones([i, 2]) for i in range(40)],
    )
    return folder, (folder / "v.index").read_bytes()


@pytest.mark.long
@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    st.integers(0, 10**6),
)
def test_any_index_bytes_give_a_bundle_or_our_error(
    real: tuple[Path, bytes], changes: list[tuple[int, int]], cut: int
) -> None:
    folder, index = real
    damaged = bytearray(index)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    path = folder / "v.index"
    path.write_bytes(damaged if cut % 3 else damaged[: cut % len(damaged)])
    try:
        bundle = Bundle(path)
        for key, entry in bundle.entries.items():
            if entry.dtype == "F32":
                assert bundle.tensor(key).array.nbytes == entry.size
    except CheckpointError:
        pass


@settings(max_examples=examples(300))
@given(st.binary(max_size=40))
def test_any_bytes_give_a_message_or_a_value_error(data: bytes) -> None:
    try:
        found = fields(data)
    except ValueError:
        return
    assert sum(len(values) for values in found.values()) <= len(data)


def test_varints() -> None:
    for value in (0, 1, 127, 128, 300, 2**32, 2**63):
        assert varint(number(value), 0) == (value, len(number(value)))
    for bad in (b"", b"\x80", b"\xff" * 10 + b"\x01"):
        with pytest.raises(ValueError):
            varint(bad, 0)


def test_values_that_differ_from_their_checksum_are_refused_when_they_are_read(
    tmp_path: Path,
) -> None:
    index = table(block([(0, b"", HEADER), (0, b"abc", NUMBERS)]))
    whole = ShardedTensor((opened(tmp_path, index).tensor("abc"),))
    assert whole.read().tolist() == [1, 2]
    (tmp_path / "v.data-00000-of-00001").write_bytes(np.array([1, 3], np.float32).tobytes())
    damaged = ShardedTensor((Bundle(tmp_path / "v.index").tensor("abc"),))
    for read in (damaged.read, lambda: list(damaged.blocks())):
        with pytest.raises(CheckpointError, match="abc differs from its checksum"):
            read()

"""CRC-32C in numpy: the published vectors, and every length about the limits of its steps."""

from __future__ import annotations

import numpy as np
import pytest

from cpm_lm.checkpoints.containers.crc32c import BLOCK, A, B, C, P, crc32c, masked


def by_bits(data: bytes) -> int:
    """The definition: one bit at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (P if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_vectors_of_rfc_3720(data: bytes, value: int) -> None:
    assert crc32c(data) == value


@pytest.mark.parametrize("size", [63, 64, 65, 66, 71, 72, 73, 100, 5001])
def test_short_data_is_as_the_definition_says(size: int) -> None:
    data = np.random.default_rng(size).bytes(size)
    assert crc32c(data) == by_bits(data)


@pytest.mark.parametrize(
    "size", [8 * A - 1, 8 * A, 8 * A + 1, 8 * BLOCK - 7, 8 * BLOCK, 8 * BLOCK + 8, 8 * BLOCK + 9]
)
def test_long_data_is_a_sum_of_short_data(size: int) -> None:
    """A CRC is linear: of data of one size, that of a ^ b ^ c is that of a, b and c added."""
    rng = np.random.default_rng(size)
    a, b, c = (np.frombuffer(rng.bytes(size), np.uint8) for _ in range(3))
    assert crc32c(a ^ b ^ c) == crc32c(a) ^ crc32c(b) ^ crc32c(c)
    # Zeros before the data change only what the register begins with.
    tail = by_bits(a[-500:].tobytes()) ^ by_bits(bytes(500))
    sparse = np.concatenate([np.zeros(size - 500, np.uint8), a[-500:]])
    assert crc32c(sparse) ^ crc32c(np.zeros(size, np.uint8)) == tail
    # Zeros behind them multiply by x^8 each.
    head = np.concatenate([a[:100], np.zeros(2900, np.uint8)]).tobytes()
    assert crc32c(head) == by_bits(head)


def test_the_polynomial_of_four_terms_is_a_multiple_of_p() -> None:
    def power(words: int) -> int:
        value = 1 << 31  # x^0: the bits are reversed
        for _ in range(64 * words):
            value = value >> 1 ^ (P if value & 1 else 0)
        return value

    assert power(A) == power(B) ^ power(C) ^ power(0)


def test_masked_as_tensorflow_stores_it() -> None:
    # The checksum of no bytes; and (rotated right by 15) + the constant, by hand for one bit.
    assert masked(0) == 0xA282EAD8
    assert masked(1 << 15) == 0xA282EAD9

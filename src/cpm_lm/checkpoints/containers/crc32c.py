"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, in numpy.

Knows bytes; does not know files. A CRC is the remainder of the data, read as a polynomial over two
elements, by a polynomial P of degree 32. Two facts make it fast without a loop over bytes:

  1. P divides a polynomial of four terms whose exponents are multiples of 64, see A, B and C. So a
     64-bit word can be added (xor) to three later words in its place, for thousands of words at a
     time; what is left are the last A words.
  2. Neighboring words are combined in pairs, then the pairs, and so on; each level multiplies by
     one power of x, which is a table for each byte.

Source: RFC 3720, appendix B.4 (P and test vectors); TensorFlow's core/lib/hash/crc32c.h (`masked`).
"""

from __future__ import annotations

from functools import cache

import numpy as np

from cpm_lm.checkpoints.dtypes import Array
from cpm_lm.shapes import UInt32

__all__ = ["crc32c", "masked"]

P = 0x82F63B78
"""The polynomial, its bits reversed, as the bits of each byte are in the data."""
A, B, C = 5685, 1362, 426
"""x^(64 A) = x^(64 B) + x^(64 C) + 1 modulo P. Found by a search over sums of two powers; of the
seven with A below 6,000 this has the largest A - B: the words that one numpy operation takes."""
STEP = A - B
BLOCK = 30 * STEP
"""Words that are copied at a time: 1 MB, which a core's cache holds."""
SHORT = 64
"""Bytes for which a loop is faster."""
MASK = 0xA282EAD8

Words = UInt32[np.ndarray, "..."]


def crc32c(data: bytes | memoryview | Array) -> int:
    """Return the checksum of some bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'

    Args:
        data: bytes, or a contiguous array.
    """
    octets = np.frombuffer(data, np.uint8)
    if len(octets) <= SHORT:
        return _by_bytes(octets.tobytes())
    # The register begins with ones: the same as adding them to the first 32 bits of the data, thus
    # 0xFFFFFFFF x^(8 n) to the remainder.
    start = np.array([0xFFFFFFFF], np.uint32)
    for level in range(len(octets).bit_length()):
        if len(octets) >> level & 1:
            start = _multiplied(start, level)
    return int(_remainder(octets) ^ start[0]) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """Return a checksum in the form in which TensorFlow stores it.

    >>> hex(masked(0xE3069283))
    '0xc78ab0e5'
    """
    return ((crc >> 15 | crc << 17) + MASK) & 0xFFFFFFFF


def _by_bytes(data: bytes) -> int:
    crc, table = 0xFFFFFFFF, _bytes()
    for byte in data:
        crc = int(table[(crc ^ byte) & 0xFF]) ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _remainder(octets: Array) -> np.uint32:
    """Return the remainder of the data times x^32, for a register that begins with zero."""
    padding = -len(octets) % 8  # zeros before the data do not change the remainder
    total = (len(octets) + padding) // 8
    work = np.zeros(A + min(total, BLOCK), "<u8")
    for first in range(0, total, BLOCK):
        count = min(BLOCK, total - first)
        missing = 0 if first else padding
        begin = 8 * first - padding + missing
        new = work[A : A + count].view(np.uint8)
        new[missing:] = octets[begin : 8 * (first + count) - padding]
        new[:missing] = 0
        _fold(work, count)
        work[:A] = work[count : count + A].copy()
    return _combined(work[:A].view("<u4"))


def _fold(work: Array, count: int) -> None:
    """Add the first `count` words to later ones, which leaves the same remainder."""
    for start in range(0, count, STEP):
        end = min(start + STEP, count)
        words = work[start:end]
        for distance in (STEP, A - C, A):
            work[start + distance : end + distance] ^= words


def _combined(words: Words) -> np.uint32:
    """Return the remainder of some 32-bit words, times x^32."""
    level = 2
    while len(words) > 1:
        if len(words) % 2:
            words = np.concatenate([np.zeros(1, np.uint32), words])
        words = _multiplied(words[0::2], level) ^ words[1::2]
        level += 1
    return _multiplied(words, 2)[0]


def _multiplied(words: Words, level: int) -> Words:
    """Return polynomials of 32 bits times x^(8 * 2^level)."""
    tables = _tables(level)
    return (
        tables[0][words & 0xFF]
        ^ tables[1][words >> 8 & 0xFF]
        ^ tables[2][words >> 16 & 0xFF]
        ^ tables[3][words >> 24]
    )


@cache
def _tables(level: int) -> tuple[Words, ...]:
    """Return what every value of each byte of a word becomes, times x^(8 * 2^level)."""
    values = [np.arange(256, dtype=np.uint32) << np.uint32(8 * place) for place in range(4)]
    if level == 0:
        return tuple(_bytes()[value & 0xFF] ^ value >> 8 for value in values)
    return tuple(_multiplied(_multiplied(value, level - 1), level - 1) for value in values)


@cache
def _bytes() -> Words:
    """Return the remainder of every byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = (table >> np.uint32(1)) ^ (table & np.uint32(1)) * np.uint32(P)
    return table

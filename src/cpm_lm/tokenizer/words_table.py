"""jieba's dictionary and probabilities as one block of bytes, read where they lie.

Knows the layout; does not know files, caches or jieba. The words are grouped by their first
character, and a group is read when a text first holds that character: a short text needs a few of
12,000. Each part has a checksum, because the bytes may come from a damaged file.

    header       HEADER; the crc is that of all before `log-probabilities`, itself as 0
    characters   uint32[G]     first characters of the groups, ascending
    crcs         uint32[G]     of a group's log-probabilities and words
    numbers      uint32[G+1]   number of the first word of each group
    offsets      uint32[G+1]   first byte of each group's words
    hidden       float64[12]   log-probabilities of starts (B M E S) and transitions
    emissions    float64[4*C]  log-probabilities of the characters FIRST..LAST in B M E S
    log-probabilities float64[W]  of each word; BEGINNING if it only begins longer words
    words        UTF-8, a group's words separated by newlines
"""

from __future__ import annotations

import struct
import threading
import zlib
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["FIRST", "LAST", "DamagedTableError", "WordData", "WordTable", "pack"]

MAGIC = b"cpmwords"
HEADER = struct.Struct("<8sI32sIIIIdI")
"""Magic, layout version, key, G, W, bytes of words, crc, log-probability of an unknown one, 0."""
VERSION = 1
FIRST, LAST = 0x4E00, 0x9FD5
"""The characters that the hidden Markov model knows."""
BEGINNING = 1.0
"""No logarithm of a probability is positive."""
IMPOSSIBLE = -3.14e100
"""jieba's log-probability of what its tables do not hold."""


class DamagedTableError(Exception):
    """Bytes are not a table, or not as they were written."""


class WordData(NamedTuple):
    """The contents of a table."""

    log_probabilities: Mapping[str, float]
    """By word; BEGINNING for what only begins longer words."""
    unknown: float
    """The log-probability of a character that is not in the dictionary."""
    starts: Sequence[float]
    """Of the states B, M, E, S."""
    transitions: Sequence[float]
    """B to E, B to M, M to E, M to M, E to B, E to S, S to B, S to S."""
    emissions: Mapping[str, Sequence[float]]
    """Of a character in the states B, M, E, S."""


def pack(data: WordData, key: bytes) -> bytes:
    """Return a table as bytes; `key` (32 bytes) tells what it was made from."""
    from array import array

    groups: dict[str, list[str]] = {}
    for word in data.log_probabilities:
        groups.setdefault(word[0], []).append(word)
    characters, crcs, numbers, offsets = array("I"), array("I"), array("I", [0]), array("I", [0])
    values, texts = array("d"), bytearray()
    for first in sorted(groups):
        own = array("d", [data.log_probabilities[word] for word in groups[first]])
        text = "\n".join(groups[first]).encode()
        values += own
        texts += text
        characters.append(ord(first))
        crcs.append(zlib.crc32(text, zlib.crc32(own)))
        numbers.append(len(values))
        offsets.append(len(texts))
    missing = (IMPOSSIBLE,) * 4
    emissions = array("d", [*data.starts, *data.transitions])
    for code in range(FIRST, LAST + 1):
        emissions.extend(data.emissions.get(chr(code), missing))
    index = b"".join(part.tobytes() for part in (characters, crcs, numbers, offsets, emissions))
    sizes = len(characters), len(values), len(texts)
    crc = zlib.crc32(index, zlib.crc32(_header(key, sizes, 0, data.unknown)))
    return b"".join([_header(key, sizes, crc, data.unknown), index, values.tobytes(), texts])


def _header(key: bytes, sizes: tuple[int, int, int], crc: int, unknown: float) -> bytes:
    return HEADER.pack(MAGIC, VERSION, key, *sizes, crc, unknown, 0)


class _Parts:
    """Views of the parts of a table.

    Raises:
        DamagedTableError: the bytes are not such a table, or have another key.
    """

    def __init__(self, image: memoryview, key: bytes) -> None:
        if len(image) < HEADER.size:
            raise DamagedTableError
        magic, version, found, groups, words, texts, crc, self.unknown, zero = HEADER.unpack(
            image[: HEADER.size]
        )
        counts = [groups, groups, groups + 1, groups + 1, 2 * 12, 2 * 4 * (LAST + 1 - FIRST)]
        self._at = HEADER.size
        index = self._at + 4 * sum(counts)
        if (magic, version, found, zero) != (MAGIC, VERSION, key, 0) or (
            len(image) != index + 8 * words + texts
        ):
            raise DamagedTableError
        blank = _header(key, (groups, words, texts), 0, self.unknown)
        if zlib.crc32(image[HEADER.size : index], zlib.crc32(blank)) != crc:
            raise DamagedTableError
        self._image = image
        self.characters, self.crcs, self.numbers, self.offsets = (
            self._take(4 * count, "I") for count in counts[:4]
        )
        self.hidden = self._take(8 * 12, "d")
        self.emissions = self._take(4 * counts[5], "d")
        self.values = self._take(8 * words, "d")
        self.texts = self._take(texts, "B")

    def _take(self, size: int, kind: Any) -> memoryview[Any]:
        start, self._at = self._at, self._at + size
        return self._image[start : self._at].cast(kind)

    def group(self, first: str) -> tuple[list[str], Sequence[float]]:
        """Return the words that begin with a character, and their log-probabilities."""
        i = bisect_left(self.characters, ord(first))
        if i == len(self.characters) or self.characters[i] != ord(first):
            return [], []
        text = self.texts[self.offsets[i] : self.offsets[i + 1]]
        own = self.values[self.numbers[i] : self.numbers[i + 1]]
        if zlib.crc32(text, zlib.crc32(own)) != self.crcs[i]:
            raise DamagedTableError
        return str(text, "utf-8").split("\n"), own.tolist()


class WordTable:
    """jieba's dictionary and probabilities; each part is read when it is first asked for.

    Thread-safe.

    Args:
        image: the bytes of a table.
        key: what the table must have been made from.
        renew: returns the bytes anew, if a part turns out to be damaged.

    Raises:
        DamagedTableError: the bytes are not such a table, or have another key.
    """

    def __init__(self, image: memoryview, key: bytes, renew: Callable[[], bytes]) -> None:
        self._key, self._renew = key, renew
        self._lock = threading.Lock()
        self._known: dict[str, float] = {}
        self._loaded: set[str] = set()
        self._emissions: dict[str, tuple[float, float, float, float]] = {}
        self._use(image)

    def _use(self, image: memoryview) -> None:
        self._parts = _Parts(image, self._key)
        self.unknown: float = self._parts.unknown
        """The log-probability of a character that is not in the dictionary."""
        hidden = tuple(self._parts.hidden.tolist())
        self.starts, self.transitions = hidden[:4], hidden[4:]

    def log_probabilities(self, text: str) -> dict[str, float]:
        """Return what the dictionary has on all words that begin with a character of a text.

        BEGINNING is what only begins longer words. It has other words as well.
        """
        for first in set(text) - self._loaded:
            with self._lock:
                try:
                    group, values = self._parts.group(first)
                except DamagedTableError:
                    self._use(memoryview(self._renew()))
                    group, values = self._parts.group(first)
                self._known.update(zip(group, values, strict=True))
                self._loaded.add(first)
        return self._known

    def is_word(self, text: str) -> bool:
        """Return whether a text, whose first character was asked for before, is a word."""
        return self._known.get(text, BEGINNING) != BEGINNING

    def emissions(self, text: str) -> list[tuple[float, float, float, float]]:
        """Return the log-probabilities of Han characters in the states B, M, E, S."""
        found = []
        for character in text:
            if (values := self._emissions.get(character)) is None:
                start = 4 * (ord(character) - FIRST)
                b, m, e, s = self._parts.emissions[start : start + 4]
                values = self._emissions[character] = (b, m, e, s)
            found.append(values)
        return found

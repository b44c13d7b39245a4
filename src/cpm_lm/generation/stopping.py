"""Stop strings in a stream of text: where to cut it off, and what to hold back.

Knows strings and the interface of a decoder; does not know tokenizers or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from cpm_lm.errors import RequestError
from cpm_lm.languages import later, tr

BACKSLASH_N = r"\n"
LINE_END_HINT = later(r" (a backslash and an n are no line end; in bash that is $'\n')")

__all__ = ["Decoder", "StopMatcher", "StoppedText", "normalized_stops"]


def normalized_stops(stop: str | Iterable[str], normalize: Callable[[str], str]) -> tuple[str, ...]:
    """Return stop strings in the form that the tokenizer decodes, without duplicates.

    Args:
        stop: one string, or several.
        normalize: encodes and decodes a text; returns "" if the model cannot generate it.

    Raises:
        RequestError: a stop string is empty or can never appear in the output.
    """
    stops = []
    for text in (stop,) if isinstance(stop, str) else stop:
        if not isinstance(text, str) or not text:
            raise RequestError(
                "stop string {text!r}; expected text of at least one character", text=text
            )
        if not (plain := normalize(text)):
            raise RequestError(
                "stop string {text!r} can never appear in the output: the vocabulary "
                "lacks it; use another one{line_end_hint}",
                text=text,
                line_end_hint=tr(LINE_END_HINT) if BACKSLASH_N in text else "",
            )
        stops.append(plain)
    return tuple(dict.fromkeys(stops))


@runtime_checkable
class Decoder(Protocol):
    """An incremental decoder: token ids to text."""

    def feed(self, token: int, /) -> str:
        """Return the text that has become certain with this token."""

    def flush(self) -> str:
        """Return the text held back, after the last token."""


class StopMatcher:
    """Returns text up to a stop string, and holds back a prefix of one.

    The text stops at the first character that completes a stop string, and is cut off before that
    string (the longest one, if several end there). So the result does not depend on how the text
    is divided into parts.

    >>> matcher = StopMatcher(["END"])
    >>> [matcher.feed(part) for part in ("a E", "N", "X", "b END c")]
    ['a ', '', 'ENX', 'b ']
    >>> matcher.stopped
    True
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self.stopped = False
        """Whether a stop string has appeared; nothing is returned after it."""
        self._stops = tuple(stops)
        self._held = ""

    def feed(self, text: str) -> str:
        """Take the next part; return the text that is certain to be part of the result."""
        if self.stopped:
            return ""
        self._held += text
        found = [(at + len(s), at) for s in self._stops if (at := self._held.find(s)) >= 0]
        self.stopped = bool(found)
        end = min(found)[1] if found else len(self._held) - self._candidate_length()
        certain, self._held = self._held[:end], self._held[end:]
        return certain

    def flush(self) -> str:
        """Return the text held back, after the last part."""
        rest, self._held = "" if self.stopped else self._held, ""
        return rest

    def _candidate_length(self) -> int:
        """Return the length of the longest suffix that is a prefix of a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(s.startswith(self._held[-length:]) for s in self._stops):
                return length
        return 0


class StoppedText:
    """The text of one continuation, built token by token and cut off before a stop string.

    Args:
        decoder: a new decoder of the tokenizer.
        stops: the stop strings, in the form that the tokenizer decodes.
        skip: the number of characters that `take` leaves out at the beginning, because an earlier
            run of the same request returned them.
    """

    def __init__(self, decoder: Decoder, stops: Iterable[str], *, skip: int = 0) -> None:
        self._decoder = decoder
        self._matcher = StopMatcher(stops)
        self.finished = False
        """Whether the last token has been fed."""
        self._parts: list[str] = []
        self._taken, self._skip = 0, skip

    @property
    def text(self) -> str:
        """The text so far, without what is held back."""
        return "".join(self._parts)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has appeared."""
        return self._matcher.stopped

    def feed(self, token: int) -> bool:
        """Append a token; return whether a stop string has appeared."""
        self._parts.append(self._matcher.feed(self._decoder.feed(token)))
        return self.stopped

    def finish(self) -> None:
        """Append the text held back, after the last token."""
        self.finished = True
        self._parts.append(self._matcher.feed(self._decoder.flush()) + self._matcher.flush())

    def take(self) -> str:
        """Return the text that has become certain since the last call."""
        new, self._taken = "".join(self._parts[self._taken :]), len(self._parts)
        skipped, self._skip = min(self._skip, len(new)), max(0, self._skip - len(new))
        return new[skipped:]

"""Stop strings in text that arrives in pieces: where to cut, and what to hold back.

Knows strings, and a decoder that is handed in; does not know tokenizers or models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from cpm_lm.errors import RequestError

BACKSLASH_N = r"\n"
LINE_END_HINT = r" (a backslash and an n are no line end; in bash that is $'\n')"

__all__ = ["Decoder", "StopMatcher", "StoppedText", "normalized_stops"]


def normalized_stops(stop: str | Iterable[str], normalize: Callable[[str], str]) -> tuple[str, ...]:
    """Return stop strings as they would come out of the tokenizer.

    Args:
        stop: one string, or several.
        normalize: text as it would look after encoding and decoding.

    Raises:
        RequestError: a stop string is empty, or nothing of it can ever appear in the output.
    """
    stops = []
    for text in (stop,) if isinstance(stop, str) else stop:
        if not isinstance(text, str) or not text:
            raise RequestError(f"stop string {text!r}; expected text of at least one character")
        if not (plain := normalize(text)):
            raise RequestError(
                f"stop string {text!r} can never appear in the output: the vocabulary "
                f"lacks it; use another one{LINE_END_HINT if BACKSLASH_N in text else ''}"
            )
        stops.append(plain)
    return tuple(dict.fromkeys(stops))


@runtime_checkable
class Decoder(Protocol):
    """Token ids to text, one at a time."""

    def feed(self, token: int, /) -> str:
        """Return the text that has become certain with this token."""

    def flush(self) -> str:
        """Return the rest, now that no token will come."""


class StopMatcher:
    """Passes text on until a stop string appears in it.

    Generation stops at the first character that completes a stop string; the text is cut where
    that string begins (the longest, if several end there). So the result does not depend on how
    the text was cut into pieces.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self.stopped = False
        """Whether a stop string has appeared; nothing is passed on after it."""
        self._stops = tuple(stops)
        self._held = ""

    def feed(self, text: str) -> str:
        """Take the next piece; return what is certain to be part of the result."""
        if self.stopped:
            return ""
        self._held += text
        found = [(at + len(s), at) for s in self._stops if (at := self._held.find(s)) >= 0]
        self.stopped = bool(found)
        keep = min(found)[1] if found else len(self._held) - self._candidate()
        passed, self._held = self._held[:keep], self._held[keep:]
        return passed

    def flush(self) -> str:
        """Return what was held back, now that nothing more will come."""
        rest, self._held = "" if self.stopped else self._held, ""
        return rest

    def _candidate(self) -> int:
        """Return the length of the longest ending that may become a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(s.startswith(self._held[-length:]) for s in self._stops):
                return length
        return 0


class StoppedText:
    """The text of one continuation as its tokens come, cut at a stop string.

    Args:
        decoder: of the tokenizer, new.
        stops: the stop strings, as they come out of the tokenizer.
        skip: characters that were taken of the same text before, and are not to be taken again.
    """

    def __init__(self, decoder: Decoder, stops: Iterable[str], *, skip: int = 0) -> None:
        self._decoder = decoder
        self._matcher = StopMatcher(stops)
        self.finished = False
        """Whether no token will come."""
        self._parts: list[str] = []
        self._taken, self._skip = 0, skip

    @property
    def text(self) -> str:
        """All that is certain to be part of the text."""
        return "".join(self._parts)

    @property
    def stopped(self) -> bool:
        """Whether a stop string has appeared."""
        return self._matcher.stopped

    def feed(self, token: int) -> bool:
        """Take a token; say whether a stop string has appeared."""
        self._parts.append(self._matcher.feed(self._decoder.feed(token)))
        return self.stopped

    def finish(self) -> None:
        """Take note that no token will come, so that nothing need be held back."""
        self.finished = True
        self._parts.append(self._matcher.feed(self._decoder.flush()) + self._matcher.flush())

    def take(self) -> str:
        """Return what has become certain since the last time."""
        fresh, self._taken = "".join(self._parts[self._taken :]), len(self._parts)
        skipped, self._skip = min(self._skip, len(fresh)), max(0, self._skip - len(fresh))
        return fresh[skipped:]

"""A request for the perplexity of a text of any length, by a sliding window, and its result.

Knows tokenizers and the algorithm that scores paths; does not know engines or sessions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.path_scores import BATCH, Path, PathScores, path_scores
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.distributions.checks import check_number
from cpm_lm.errors import RequestError
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.generation.scoring import start_ids
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Perplexity", "PerplexityRequest"]

STRIDE = 512
"""Tokens between the beginnings of two windows, by default."""


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How well a model predicts a text: the exponential of the mean negative log-probability."""

    per_token: float
    per_character: float
    """By character (Unicode code point) of the text, so that vocabularies can be compared."""
    per_byte: float
    """By byte of the text in UTF-8."""
    logprob: float
    """The log-probability of the text: natural logarithm, under the model itself."""
    tokens: int
    """The tokens scored."""
    characters: int
    bytes: int
    stride: int
    """The tokens between the beginnings of two windows of the context's length; each token but
    those of the first window has at least context + 1 - stride tokens before it. A smaller stride
    gives a lower perplexity, so only those of one stride can be compared."""
    token_ids: tuple[int, ...]
    token_logprobs: tuple[float, ...]


class PerplexityRequest(GenerationRequest[None, Perplexity]):
    """The perplexity of a text.

    Its first token follows the token that a text starts with (see `scoring.start_ids`); if the
    vocabulary has none, the first token is not scored.

    Args:
        tokenizer: of the model.
        config: its shape.
        text: of any length.
        stride: at least 1; at most the context is used.

    Raises:
        RequestError: the text has no token to score, or the stride is out of range.
    """

    def __init__(
        self, tokenizer: Tokenizer, config: GPTConfig, text: str, *, stride: int = STRIDE
    ) -> None:
        check_number("stride", stride, low=1, whole=True)
        start, ids = start_ids(tokenizer), tokenizer.encode(text)
        everything = [*start, *ids]
        first = max(1, len(start))
        if len(everything) <= first:
            raise RequestError(
                "the text has {n} tokens, and none to score; give a longer text", n=len(ids)
            )
        length = config.n_positions + 1  # of a window: its last token is scored, not computed
        if length <= first:
            raise RequestError(
                "the model's context of {context} has no room for a token after the first",
                context=config.n_positions,
            )
        self._stride = min(stride, config.n_positions)
        self._ids, self._text = everything[first:], text
        self._paths = _windows(everything, first, length, self._stride)
        self.node_budget = max(len(path.ids) for path in self._paths) + BATCH
        self._found: PathScores | None = None

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that scores the text; see `GenerationRequest.algorithm`."""
        self._found = yield from path_scores(self._paths)

    def poll(self) -> list[None]:
        """Return nothing: the perplexity becomes certain at the end."""
        return []

    def result(self) -> Perplexity:
        """Return the perplexity."""
        assert self._found is not None, "the algorithm has not ended"
        logprobs = tuple(token.logprob for window in self._found.tokens for token in window)
        total = sum(logprobs)
        size = len(self._text.encode("utf-8", "surrogatepass"))
        return Perplexity(
            per_token=_exp(-total / len(logprobs)),
            per_character=_exp(-total / len(self._text)),
            per_byte=_exp(-total / size),
            logprob=total,
            tokens=len(logprobs),
            characters=len(self._text),
            bytes=size,
            stride=self._stride,
            token_ids=tuple(self._ids),
            token_logprobs=logprobs,
        )


def _exp(mean: float) -> float:
    """Return e^mean; a model may give a text almost no probability."""
    return math.exp(mean) if mean < 700 else math.inf


def _windows(ids: list[int], first: int, length: int, stride: int) -> list[Path]:
    """Return windows in which every id from `first` on is scored once.

    >>> windows = _windows(list(range(7)), 1, length=4, stride=2)
    >>> [(path.ids, path.start) for path in windows]
    [((0, 1, 2, 3), 1), ((2, 3, 4, 5), 2), ((4, 5, 6), 2)]
    """
    windows, begin, scored = [], 0, first
    while scored < len(ids):
        window = tuple(ids[begin : begin + length])
        windows.append(Path(window, scored - begin))
        scored, begin = begin + len(window), begin + stride
    return windows

"""A request for the likeliest next tokens.

Knows tokenizers and wants; does not know engines or sessions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.paths import Paths
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.display import Row, on_a_line, percent, quoted
from cpm_lm.distributions.checks import check_number
from cpm_lm.distributions.draw import Scored
from cpm_lm.engines.wants import LogProbs
from cpm_lm.errors import RequestError
from cpm_lm.generation.likeliest import Likeliest
from cpm_lm.generation.next_prompt import NextPrompt
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.tokenizer import Tokenizer

__all__ = ["NextToken", "NextTokensRequest"]


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """One of the likeliest next tokens."""

    token_id: int
    text: str
    """The token's text for display; the name of a special token."""
    probability: float
    """Under the raw model: temperature 1, no filters."""

    def __repr__(self) -> str:
        """Return the text and its probability on one line."""
        parts = [quoted(self.text), percent(self.probability), f"token_id {self.token_id}"]
        return on_a_line("NextToken", parts)

    def _row(self) -> Row:
        return self.text, self.probability, percent(self.probability)


class NextTokensRequest(GenerationRequest[None, Likeliest[NextToken]]):
    """The k likeliest next tokens, likeliest first; ties by the lower id.

    Args:
        tokenizer: of the model.
        config: its shape.
        prompt: text, or token ids that are used unchanged.
        k: the number of tokens, 1 to the size of the vocabulary.
        also: texts of tokens to list as well, however unlikely.
        special: whether names of special tokens in the prompt mean these tokens.

    Raises:
        RequestError: k is out of range, the prompt is bad, or a text of `also` is no token.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        *,
        k: int,
        also: Iterable[str] = (),
        special: bool = False,
    ) -> None:
        size = tokenizer.vocab_size
        self._k = int(check_number("k", k, low=1, high=size, whole=True))
        self._prompt = NextPrompt(tokenizer, config, prompt, special=special)
        self._also = _ids_of(tokenizer, also)
        self._tokenizer = tokenizer
        self.node_budget = self._prompt.node_budget(0)
        self._scored: Scored | None = None

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that computes the prompt; see `GenerationRequest`."""
        ids = self._prompt.ids
        last = np.array([len(ids) - 1], np.int32)
        want = LogProbs(last, [np.array(self._also, np.int32)], top=self._k)
        answers = yield from self._prompt.observed(Paths(ids).begin([want]))
        self._scored = answers[0]

    def poll(self) -> Sequence[None]:
        """Return nothing: the result comes at once."""
        return ()

    def result(self) -> Likeliest[NextToken]:
        """Return the tokens."""
        assert self._scored is not None, "the algorithm has not ended"
        scored = self._scored
        logprobs = dict(zip(self._also, scored.logprobs.tolist(), strict=True))
        logprobs |= zip(scored.top_ids[0].tolist(), scored.top_logprobs[0].tolist(), strict=True)
        found = sorted(logprobs.items(), key=lambda item: (-item[1], item[0]))
        tokens = (
            NextToken(token_id=i, text=self._tokenizer.piece(i), probability=math.exp(logprob))
            for i, logprob in found
        )
        return Likeliest(tokens, note=self._prompt.note, rows=len(self._prompt.ids))


def _ids_of(tokenizer: Tokenizer, texts: Iterable[str]) -> list[int]:
    """Return the ids of all tokens whose text is one of these."""
    wanted = set(texts)
    found = {
        i: piece
        for i in range(tokenizer.vocab_size if wanted else 0)
        if (piece := tokenizer.piece(i)) in wanted
    }
    if missing := wanted.difference(found.values()):
        raise RequestError(
            "{missing!r} is not a single token; next_characters (`cpm next` without "
            "--tokens) takes texts of any length",
            missing=min(missing),
        )
    return sorted(found)

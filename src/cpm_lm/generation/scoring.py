"""A request for the log-probabilities of given continuations, and its result.

Knows tokenizers and the algorithm that scores paths; does not know engines or sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpm_lm.choices import Boundary, choices
from cpm_lm.config import GPTConfig
from cpm_lm.decoding.path_scores import (
    BATCH,
    Path,
    PathScores,
    TokenScore,
    path_scores,
    rows_apart,
)
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.distributions.checks import check_one_of
from cpm_lm.errors import RequestError
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Query", "Score", "ScoreRequest", "Scores", "start_ids"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """How likely a model finds a continuation of a prompt.

    All logarithms are natural, under the model itself: temperature 1, no filters.
    """

    text: str
    """The continuation."""
    token_ids: tuple[int, ...]
    """Its tokens; with boundary "joint", from the first token that the prompt alone does not
    have."""
    token_logprobs: tuple[float, ...]
    """The log-probability of each token, given all tokens before it."""
    logprob: float
    """Their sum."""
    per_token: float
    """Their mean."""
    per_character: float
    """`logprob` by character (Unicode code point) of the continuation."""
    per_byte: float
    """`logprob` by byte of the continuation in UTF-8."""
    pmi: float | None
    """Pointwise mutual information with the prompt: `logprob` less that of the same tokens at the
    start of a text (Holtzman et al. 2021, section 3); None if it was not asked for, or the
    tokenizer has no token that a text starts with."""
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    """For each token the likeliest ids in its place and their log-probabilities, if asked for."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of all queries, and what they cost."""

    scores: tuple[tuple[Score, ...], ...]
    """By query, in the order of its continuations."""
    rows: int
    """Forward rows computed."""
    rows_apart: int
    """Forward rows that each continuation by itself would have needed."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A prompt, and the continuations to score after it.

    Text, or token ids that are used unchanged.
    """

    prompt: str | Sequence[int]
    continuations: Sequence[str | Sequence[int]]


class ScoreRequest(GenerationRequest[None, Scores]):
    """The scores of continuations; what several of them begin with is computed once.

    Args:
        tokenizer: of the model.
        config: its shape.
        queries: at least one, each with at least one continuation.
        boundary: "apart": prompt and continuation are encoded apart and their ids joined, as the
            original code does and as a continuation is drawn; "joint": the text of both is encoded
            at once, and what is scored begins at the first token that the prompt alone lacks.
        pmi: whether the continuations are also scored at the start of a text.
        top: the number of likeliest tokens to report in the place of each token.

    Raises:
        RequestError: a continuation is empty, an id is out of range, the context does not hold
            prompt and continuation, or "joint" is asked for ids.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        queries: Sequence[Query],
        *,
        boundary: str = "apart",
        pmi: bool = True,
        top: int = 0,
    ) -> None:
        check_one_of("boundary", boundary, choices(Boundary))
        self._tokenizer, self._config, self._top = tokenizer, config, top
        self._counts = [len(query.continuations) for query in queries]
        if not all(self._counts) or not self._counts:
            raise RequestError("there is nothing to score; give at least one continuation")
        self._texts: list[str] = []
        self._paths: list[Path] = []
        for query in queries:
            for continuation in query.continuations:
                self._add(query.prompt, continuation, boundary)
        start = start_ids(tokenizer)
        self._alone = [
            Path((*start, *path.ids[path.start :]), len(start)) if pmi and start else None
            for path in self._paths
        ]
        everything = [*self._paths, *filter(None, self._alone)]
        self.node_budget = max(len(path.ids) for path in everything) + BATCH
        self._found: PathScores | None = None

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that computes the scores; see `GenerationRequest.algorithm`."""
        paths = [*self._paths, *filter(None, self._alone)]
        self._found = yield from path_scores(paths, top=self._top)

    def poll(self) -> list[None]:
        """Return nothing: scores become certain all at once."""
        return []

    def result(self) -> Scores:
        """Return the scores in order."""
        assert self._found is not None, "the algorithm has not ended"
        found = iter(self._found.tokens)
        given = [next(found) for _ in self._paths]
        alone = [None if path is None else next(found) for path in self._alone]
        scores = [
            self._score(*parts)
            for parts in zip(self._texts, self._paths, given, alone, strict=True)
        ]
        result, at = [], 0
        for count in self._counts:
            result.append(tuple(scores[at : at + count]))
            at += count
        return Scores(
            scores=tuple(result), rows=self._found.rows, rows_apart=rows_apart(self._paths)
        )

    def _score(
        self,
        text: str,
        path: Path,
        given: Sequence[TokenScore],
        alone: Sequence[TokenScore] | None,
    ) -> Score:
        logprobs = tuple(token.logprob for token in given)
        total = sum(logprobs)
        return Score(
            text=text,
            token_ids=path.ids[path.start :],
            token_logprobs=logprobs,
            logprob=total,
            per_token=total / len(logprobs),
            per_character=total / len(text),
            per_byte=total / len(text.encode("utf-8", "surrogatepass")),
            pmi=None if alone is None else total - sum(token.logprob for token in alone),
            top=tuple(tuple(zip(token.top_ids, token.top_logprobs, strict=True)) for token in given)
            if self._top
            else (),
        )

    def _add(
        self, prompt: str | Sequence[int], continuation: str | Sequence[int], boundary: str
    ) -> None:
        """Add the path of one continuation."""
        before = self._ids(prompt)
        if isinstance(prompt, str):
            before = [*self._tokenizer.prefix_ids, *before]
        before = before or list(start_ids(self._tokenizer))
        if boundary == "joint":
            if not isinstance(prompt, str) or not isinstance(continuation, str):
                raise RequestError("boundary is 'joint', which needs text; give no token ids")
            whole = [*self._tokenizer.prefix_ids, *self._tokenizer.encode(prompt + continuation)]
            whole = whole if prompt or self._tokenizer.prefix_ids else [*before, *whole]
            start = max(1, _common(before, whole))
        else:
            whole, start = [*before, *self._ids(continuation)], len(before)
        text = (
            continuation if isinstance(continuation, str) else self._tokenizer.decode(continuation)
        )
        if start == len(whole) or not text:
            raise RequestError(
                "the continuation {text!r} has no tokens; give at least one", text=text
            )
        if not start:
            raise RequestError(
                "the prompt is empty, and the vocabulary has no token that a text starts with; "
                "give a prompt"
            )
        if len(whole) - 1 > self._config.n_positions:  # the last token is not computed
            raise RequestError(
                "prompt and continuation have {n} tokens; the model can score {context}: "
                "shorten the prompt",
                n=len(whole),
                context=self._config.n_positions + 1,
            )
        self._texts.append(text)
        self._paths.append(Path(tuple(whole), start))

    def _ids(self, text: str | Sequence[int]) -> list[int]:
        if isinstance(text, str):
            return self._tokenizer.encode(text)
        ids, size = list(text), self._tokenizer.vocab_size
        if bad := [i for i in ids if not 0 <= i < size]:
            raise RequestError(
                "token id {bad} is not in the vocabulary; expected 0 to {last}",
                bad=bad[0],
                last=size - 1,
            )
        return ids


def start_ids(tokenizer: Tokenizer) -> tuple[int, ...]:
    """Return the ids that a text starts with: those before every prompt, else an end token.

    The original code trains on texts joined by their end token, so a text follows one.
    """
    return tokenizer.prefix_ids or tuple(sorted(tokenizer.end_ids)[:1])


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Return the length of the longest common prefix, less than the second's length.

    >>> _common([1, 2, 3], [1, 2, 4, 5]), _common([1, 2], [1, 2])
    (2, 1)
    """
    same = next(
        (i for i, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), None
    )
    return min(len(one), len(other) - 1) if same is None else same

"""Compare the predictions of two models on a text, for example before and after quantization.

Knows texts, windows and distributions; does not know how a model is opened: `engines.opening`
does.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.choices import EngineName, TextStyleName
from cpm_lm.display import fields_on_a_line
from cpm_lm.distributions.draw import log_partition
from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logits
from cpm_lm.engines.opening import own_weights, start_checkpoint
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import ConfigError, RequestError
from cpm_lm.progress import Progress
from cpm_lm.shapes import Float32, Int64
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Comparison", "Divergence", "compare", "divergence"]

ROWS = 64
"""The number of tokens computed at a time. With 30,000 pieces the arrays of both models take about
100 MB."""
CONFIDENT_MARGIN = 0.1
"""A prediction is confident if the two most likely tokens differ in probability by more than
this."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The divergence of two models' next-token distributions over some texts."""

    tokens: int
    """The number of distributions that were compared."""
    mean_kl: float
    """The mean of KL(first || second), in nats."""
    worst_kl: float
    """The largest KL(first || second), in nats."""
    worst_token: int
    """The index of the token after which the largest KL was found, counted over all texts."""
    same_top: float
    """The share of tokens after which both models have the same most likely token."""
    sure: int
    """The number of tokens after which the first model is confident: its two most likely tokens
    differ in probability by more than 0.1."""
    same_top_sure: float | None
    """The share of these tokens after which both models have the same most likely token; None if
    there are none."""
    predicted: int
    """The number of tokens that were predicted from the tokens before them."""
    perplexity: float | None
    """The perplexity of the first model; None if no token was predicted."""
    perplexity_ratio: float | None
    """The perplexity of the second model divided by that of the first."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Divergence):
    """A divergence, with the models and the window."""

    first: str
    second: str
    """The paths of the models."""
    first_weights: str
    second_weights: str
    """The number formats of the models."""
    window: int
    """The maximum number of tokens of a window; the windows of a text are independent."""

    __repr__ = fields_on_a_line

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return dataclasses.asdict(self)


def compare(
    first: str | Path,
    second: str | Path,
    text: str,
    *,
    heads: int | None = None,
    engine: EngineName = EngineOptions.engine,
    threads: int | None = EngineOptions.threads,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models' next-token distributions on a text.

    Args:
        first: any path that `convert` accepts; if it is not a store, it is converted to a
            temporary store.
        second: another model with the same vocabulary.
        text: the text; it is split into windows of the shorter context.
        heads: the number of attention heads, if not recorded and the width is not known.
        engine: the engine to use, see `open_engine`.
        threads: the number of threads of the engine.
        progress: called with the tokens done and the total.

    Raises:
        CheckpointError: there is no readable checkpoint at one of the paths.
        ConfigError: the vocabularies differ, or neither model has one.
        RequestError: the text is too short.
        EngineError: the engine cannot run, or returned logits that are not finite.
    """
    options = EngineOptions(engine=engine, threads=threads)
    sources = open_source(first), open_source(second)
    tokenizer = _common_tokenizer(sources, text)
    with ExitStack() as stack:
        engines: list[Engine] = []
        for source in sources:
            known = engines[0].config if engines else None
            started = start_checkpoint(source, options, heads=heads, config=known)
            engines.append(stack.enter_context(started))
        length = min(running.config.n_positions for running in engines)
        windows = _windows(tokenizer, text, length)
        found = divergence(engines[0], engines[1], windows, progress=progress)
    return Comparison(
        **dataclasses.asdict(found),
        first=str(first),
        second=str(second),
        first_weights=own_weights(sources[0]),
        second_weights=own_weights(sources[1]),
        window=length,
    )


def divergence(
    first: Engine,
    second: Engine,
    windows: Sequence[Sequence[int]],
    *,
    progress: Progress | None = None,
) -> Divergence:
    """Compare two engines on windows of ids; the windows are independent.

    Args:
        first: the reference model.
        second: a model with the same vocabulary size.
        windows: lists of ids, none longer than either context.
        progress: called with the tokens done and the total.

    Raises:
        EngineError: an engine returned logits that are not finite.
    """
    total, sums = sum(map(len, windows)), _Accumulator()
    for ids in windows:
        pairs = zip(*(chain_logits(e, ids, rows=ROWS) for e in (first, second)), strict=True)
        targets = np.array([*ids[1:], -1], np.int64)
        for here, there in pairs:
            sums.add(here, there, targets[: len(here)])
            targets = targets[len(here) :]
            if progress is not None:
                progress(sums.tokens, total)
    return sums.result()


class _Accumulator:
    """Accumulates the statistics."""

    def __init__(self) -> None:
        self.tokens = self.same = self.sure = self.same_sure = self.predicted = 0
        self.kl, self.worst, self.worst_token = 0.0, 0.0, 0
        self.losses = [0.0, 0.0]

    def add(
        self,
        here: Float32[np.ndarray, "R V"],
        there: Float32[np.ndarray, "R V"],
        targets: Int64[np.ndarray, " R"],
    ) -> None:
        """Add rows of logits of both models; a target of -1 means no target."""
        p, q = (np.asarray(x - log_partition(x)[:, None], np.float64) for x in (here, there))
        probabilities = np.exp(p)
        kl = np.maximum(
            (probabilities * (p - q)).sum(axis=1), 0
        )  # negative only by rounding errors
        if kl.max() > self.worst:
            self.worst, self.worst_token = float(kl.max()), self.tokens + int(kl.argmax())
        top = (
            np.partition(probabilities, -2, axis=1)[:, -2:]
            if p.shape[1] > 1
            else probabilities[:, [0, 0]]
        )
        sure, same = top[:, 1] - top[:, 0] > CONFIDENT_MARGIN, p.argmax(axis=1) == q.argmax(axis=1)
        self.kl += float(kl.sum())
        self.tokens += len(p)
        self.same += int(same.sum())
        self.sure += int(sure.sum())
        self.same_sure += int((sure & same).sum())
        rows = np.flatnonzero(targets >= 0)
        self.predicted += len(rows)
        for at, logs in enumerate((p, q)):
            self.losses[at] -= float(logs[rows, targets[rows]].sum())

    def result(self) -> Divergence:
        """Return the means."""
        first, second = (loss / max(self.predicted, 1) for loss in self.losses)
        some = self.predicted > 0
        return Divergence(
            tokens=self.tokens,
            mean_kl=self.kl / self.tokens,
            worst_kl=self.worst,
            worst_token=self.worst_token,
            same_top=self.same / self.tokens,
            sure=self.sure,
            same_top_sure=self.same_sure / self.sure if self.sure else None,
            predicted=self.predicted,
            perplexity=math.exp(first) if some else None,
            perplexity_ratio=math.exp(second - first) if some else None,
        )


def _windows(tokenizer: Tokenizer, text: str, length: int) -> list[list[int]]:
    """Split the ids of a text into windows of at most `length`; each begins with the prefix ids."""
    prefix, ids = list(tokenizer.prefix_ids), tokenizer.encode(text)
    step = length - len(prefix)
    if len(ids) + len(prefix) < 2 or not ids or step < 1:
        raise RequestError(
            "the text has {n_ids} tokens, expected at least 2; give a longer text", n_ids=len(ids)
        )
    return [prefix + ids[start : start + step] for start in range(0, len(ids), step)]


def _common_tokenizer(sources: tuple[Source, Source], text: str) -> Tokenizer:
    """Return the tokenizer of both models.

    Raises:
        ConfigError: their tokenizers differ, or they have none.
    """
    first, second = sources
    sizes = first.dims.vocab_size, second.dims.vocab_size
    if sizes[0] != sizes[1]:
        raise ConfigError(
            "the models cannot be compared: one has {one:,} pieces, the other {two:,}",
            one=sizes[0],
            two=sizes[1],
        )
    places = [source.tokenizer for source in sources if source.tokenizer is not None]
    if not places:
        raise ConfigError(
            "neither model has a vocabulary, so the text cannot be encoded; convert one of them "
            "again with --tokenizer"
        )
    tokenizers = [Tokenizer.load(place) for place in places]
    for tokenizer, place in zip(tokenizers, places, strict=True):
        if tokenizer.vocab_size != sizes[0]:
            raise ConfigError(
                "the vocabulary in {place} has {vocab_size:,} pieces, the models "
                "{one:,}; it belongs to another model",
                place=place,
                vocab_size=tokenizer.vocab_size,
                one=sizes[0],
            )
    # A text style that is only assumed gives way to the other model's.
    if known := [tokenizer.text_style for tokenizer in tokenizers if not tokenizer.note]:
        style = cast("TextStyleName", known[0]) or None
        tokenizers = [
            Tokenizer.load(place, text_style=style) if tokenizer.note else tokenizer
            for tokenizer, place in zip(tokenizers, places, strict=True)
        ]
    if len({(*each.prefix_ids, *each.encode(text)) for each in tokenizers}) > 1:
        raise ConfigError(
            "the models cannot be compared: their vocabularies encode the text differently"
        )
    return tokenizers[0]

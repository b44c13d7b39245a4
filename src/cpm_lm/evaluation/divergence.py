"""How far the predictions of two models are apart on a text: what rounding weights costs.

Knows texts, windows and distributions; opening a model is `verifying.opening`'s work.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.distributions.draw import log_partition
from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logits
from cpm_lm.engines.opening import own_weights, start_checkpoint
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import ConfigError, RequestError
from cpm_lm.progress import Progress
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Comparison", "Divergence", "compare", "divergence"]

ROWS = 64
"""Tokens computed at a time: at 30,000 pieces the distributions of both take about 100 MB."""
CONFIDENT_MARGIN = 0.1
"""The first model is sure where its first choice is likelier than its second by more than this."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """What two models' next-token distributions have in common, over all tokens of some texts."""

    tokens: int
    """How many distributions were compared."""
    mean_kl: float
    """Mean of KL(first || second), in nats."""
    worst_kl: float
    worst_token: int
    """After which token, from 0 on, the worst was found; tokens of all texts are counted through.
    """
    same_top: float
    """The share of tokens after which both have the same first choice."""
    sure: int
    """After how many tokens the first model's first choice is likelier than its second by more
    than 0.1;"""
    same_top_sure: float | None
    """the share of these with the same first choice; None if there are none."""
    predicted: int
    """How many tokens of the texts were predicted from those before them."""
    perplexity: float | None
    """The first model's; None if nothing was predicted."""
    perplexity_ratio: float | None
    """The second's over the first's."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Divergence):
    """The same, with what was compared."""

    first: str
    second: str
    """The paths of the models."""
    first_weights: str
    second_weights: str
    """Their number formats."""
    window: int
    """The most tokens a model saw at once; the text was cut into so many, each seen alone."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return dataclasses.asdict(self)


def compare(
    first: str | Path,
    second: str | Path,
    text: str,
    *,
    heads: int | None = None,
    engine: str = EngineOptions.engine,
    threads: int | None = EngineOptions.threads,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models' next-token distributions on a text.

    Args:
        first: whatever `convert` reads; what is not a store is converted to a temporary store.
        second: another model of the same vocabulary.
        text: cut into windows of the shorter model's context.
        heads: attention heads, of checkpoints that do not say and are of no known shape.
        engine: what computes, see `open_engine`.
        threads: how many threads it uses.
        progress: called with the tokens done and the tokens in all.

    Raises:
        CheckpointError: nothing readable is at one of the paths.
        ConfigError: the vocabularies differ, or neither model has one.
        RequestError: the text is too short.
        EngineError: the engine cannot run, or returned numbers that are not finite.
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
    """Compare two engines on ids, each window seen by itself.

    Args:
        first: the model to compare with.
        second: of as many pieces.
        windows: ids, each list no longer than either context.
        progress: called with the tokens done and the tokens in all.

    Raises:
        EngineError: an engine returned numbers that are not finite.
    """
    total, sums = sum(map(len, windows)), _Sums()
    for ids in windows:
        pairs = zip(*(chain_logits(e, ids, rows=ROWS) for e in (first, second)), strict=True)
        targets = np.array([*ids[1:], -1], np.int64)
        for here, there in pairs:
            sums.add(here, there, targets[: len(here)])
            targets = targets[len(here) :]
            if progress is not None:
                progress(sums.tokens, total)
    return sums.result()


class _Sums:
    """What has been found up to now."""

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
        """Add rows of logits; a target of -1 is none."""
        p, q = (np.asarray(x - log_partition(x)[:, None], np.float64) for x in (here, there))
        shares = np.exp(p)
        kl = np.maximum((shares * (p - q)).sum(axis=1), 0)  # never below zero but by rounding
        if kl.max() > self.worst:
            self.worst, self.worst_token = float(kl.max()), self.tokens + int(kl.argmax())
        top = np.partition(shares, -2, axis=1)[:, -2:] if p.shape[1] > 1 else shares[:, [0, 0]]
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
    """Return the ids of a text, in pieces that fit, each with what the vocabulary puts first."""
    prefix, ids = list(tokenizer.prefix_ids), tokenizer.encode(text)
    step = length - len(prefix)
    if len(ids) + len(prefix) < 2 or not ids or step < 1:
        raise RequestError(
            f"the text has {len(ids)} tokens, and at least two were expected; give a longer one"
        )
    return [prefix + ids[start : start + step] for start in range(0, len(ids), step)]


def _common_tokenizer(sources: tuple[Source, Source], text: str) -> Tokenizer:
    """Return the tokenizer of both models.

    Raises:
        ConfigError: they have different ones, or none.
    """
    first, second = sources
    sizes = first.dims.vocab_size, second.dims.vocab_size
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"the models cannot be compared: one has {sizes[0]:,} pieces, the other {sizes[1]:,}"
        )
    places = [source.tokenizer for source in sources if source.tokenizer is not None]
    if not places:
        raise ConfigError(
            "neither model has a vocabulary, so the text cannot be read; convert one of them "
            "again with --tokenizer"
        )
    tokenizers = [Tokenizer.load(place) for place in places]
    for tokenizer, place in zip(tokenizers, places, strict=True):
        if tokenizer.vocab_size != sizes[0]:
            raise ConfigError(
                f"the vocabulary in {place} has {tokenizer.vocab_size:,} pieces, the models "
                f"{sizes[0]:,}; it belongs to another model"
            )
    # A text style that is only assumed gives way to the other model's.
    if known := [tokenizer.text_style for tokenizer in tokenizers if not tokenizer.note]:
        tokenizers = [
            Tokenizer.load(place, text_style=known[0] or None) if tokenizer.note else tokenizer
            for tokenizer, place in zip(tokenizers, places, strict=True)
        ]
    if len({(*each.prefix_ids, *each.encode(text)) for each in tokenizers}) > 1:
        raise ConfigError(
            "the models cannot be compared: their vocabularies give the text different ids"
        )
    return tokenizers[0]

"""Check whether a model has learned Chinese: its loss on a fixed text, and on the shuffled tokens.

Knows text, ids and one engine; does not know weight files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logprobs
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["PROSE", "Sanity", "sanity"]

PROSE = (
    "傍晚的时候，雨停了。街上的人慢慢多了起来，卖水果的老人把盖在苹果上的布掀开，"
    "又用毛巾把它们一个一个擦干。孩子们踩着水往家里跑，书包在背后一跳一跳的。"
    "我站在车站等朋友，他说六点到，可是已经六点半了，还没有看见他的影子。"
    "旁边的一位阿姨问我几点了，我告诉她，她叹了一口气，说今天的车大概又晚了。"
    "过了一会儿，车终于来了，朋友从人群里挤出来，手里举着两张票，一边笑一边喊我的名字。"
    "我们没有说什么迟到的事，只是沿着湿漉漉的马路往电影院走，路灯一盏接一盏亮了起来。"
)
"""Plain modern prose, written for this purpose, so that no model was trained on it."""

UNTRAINED_SHARE = 0.9
"""A model with a loss of at least this share of ln V is reported as untrained."""

MAX_UNKNOWN_SHARE = 0.2
"""The accepted share of unknown tokens. The packaged model's vocabulary has 1% on this text."""


@dataclass(frozen=True, kw_only=True)
class Sanity:
    """The losses of a model on the fixed text, in nats per token."""

    tokens: int
    """The number of tokens that the losses are means of."""
    loss: float
    """The loss on the text."""
    shuffled: float
    """The loss on the same tokens in a fixed random order; a sound model has a larger one."""
    uniform: float
    """ln V, the loss of a uniform distribution over the vocabulary."""
    unknown: int
    """The number of unknown tokens."""

    @property
    def problem(self) -> str | None:
        """A message if the losses are implausible; else None."""
        if self.loss >= UNTRAINED_SHARE * self.uniform:
            return tr(
                "the model looks untrained: its loss on plain Chinese prose is "
                "{loss:.2f} nats per token; a uniform distribution has ln V = "
                "{uniform:.2f}. The weights are random or wrongly merged, or the "
                "vocabulary is another model's",
                loss=self.loss,
                uniform=self.uniform,
            )
        if self.unknown > MAX_UNKNOWN_SHARE * self.tokens:
            return tr(
                "the vocabulary does not have {unknown} of {tokens} pieces of plain "
                "Chinese prose; it is damaged, or for another language",
                unknown=self.unknown,
                tokens=self.tokens,
            )
        if self.loss >= self.shuffled:
            return tr(
                "the model ignores the order of tokens: its loss on prose is {loss:.2f} "
                "nats per token, on the same tokens shuffled {shuffled:.2f}; the weights "
                "look damaged or wrongly merged",
                loss=self.loss,
                shuffled=self.shuffled,
            )
        return None


def sanity(engine: Engine, tokenizer: Tokenizer) -> Sanity | None:
    """Measure the losses of a model on the fixed text, truncated to its context.

    Returns:
        The losses; None if no token can be predicted.

    Raises:
        EngineError: the engine returned numbers that are not finite.
    """
    prefix = list(tokenizer.prefix_ids)
    ids = tokenizer.encode(PROSE)[: engine.config.n_positions - len(prefix)]
    count = len(ids) - (not prefix)
    if count < 1:
        return None
    order = np.random.Generator(np.random.Philox(key=0)).permutation(len(ids))
    shuffled = [ids[i] for i in order]
    return Sanity(
        tokens=count,
        loss=_loss(engine, prefix + ids, count),
        shuffled=_loss(engine, prefix + shuffled, count),
        uniform=math.log(engine.config.vocab_size),
        unknown=tokenizer.unknown_count(ids),
    )


def _loss(engine: Engine, ids: Sequence[int], count: int) -> float:
    """Return the mean loss of the last `count` ids, in nats."""
    return float(-np.mean(chain_logprobs(engine, ids)[-count:]))

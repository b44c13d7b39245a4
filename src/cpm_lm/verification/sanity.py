"""Has a model learnt Chinese? Its loss on a fixed text, and on the words of that text shuffled.

Knows text, ids and one engine; does not know files of weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logprobs
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
"""A loss of this share of ln V or more is that of a model that has learnt nothing."""


MAX_UNKNOWN_SHARE = 0.2
"""The small model's vocabulary lacks 1% of the text; one of Chinese lacks no fifth."""


@dataclass(frozen=True, kw_only=True)
class Sanity:
    """What a model makes of the fixed text; losses in nats per token."""

    tokens: int
    """The number of tokens the losses are means of."""
    loss: float
    """On the text."""
    shuffled: float
    """On the same tokens in a fixed other order: more than `loss`, if order means anything."""
    uniform: float
    """ln V, the loss of a model that finds every piece equally likely."""
    unknown: int
    """How many of the tokens stand for what the vocabulary does not have."""

    @property
    def problem(self) -> str | None:
        """What the losses say is wrong, if they do."""
        if self.loss >= UNTRAINED_SHARE * self.uniform:
            return (
                f"the model looks untrained: its loss on plain Chinese prose is {self.loss:.2f} "
                f"nats a token, and knowing nothing gives ln V = {self.uniform:.2f}. The weights "
                "are random or wrongly joined, or the vocabulary is another model's"
            )
        if self.unknown > MAX_UNKNOWN_SHARE * self.tokens:
            return (
                f"the vocabulary does not have {self.unknown} of {self.tokens} pieces of plain "
                "Chinese prose; it is damaged, or of another language"
            )
        if self.loss >= self.shuffled:
            return (
                f"the model does not mind the order of words: its loss on prose is {self.loss:.2f} "
                f"nats a token, on the same words shuffled {self.shuffled:.2f}; the weights look "
                "damaged or wrongly joined"
            )
        return None


def sanity(engine: Engine, tokenizer: Tokenizer) -> Sanity | None:
    """Measure a model on the fixed text, as far as its context reaches.

    Returns:
        None where the text is no more than one token to this model.

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
    """Return the mean loss of the last `count` of the ids."""
    return float(-np.mean(chain_logprobs(engine, ids)[-count:]))

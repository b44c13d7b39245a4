"""What a caller may choose about samples and votes: the one place of defaults, ranges, words.

Knows options; does not know models, tokenizers or engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cpm_lm.distributions.checks import Number, check_field, check_one_of, help_of
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import RequestError

__all__ = ["METHODS", "SamplingOptions", "VotingOptions"]

METHODS = ("sample", "stratified", "exact")
MAX_SAMPLES = 1_000_000
"""Of one call: shares are then known to 0.1%, and a slip of the hand is not run for days."""


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(Rules):
    """The options of `Model.sample`; `checks.help_of` gives each field's words.

    Raises:
        RequestError: a value is out of its range.
    """

    n: int = field(
        default=1,
        metadata={
            "help": "抽几个；它们共用提示和相同的开头。"
            "How many continuations to draw; they share the prompt and whatever else "
            "they have in common."
        },
    )
    max_tokens: int = field(
        default=64,
        metadata={
            "help": "每个最多几个词元，含结束符。"
            "The most tokens of each continuation, its end included."
        },
    )
    stop: str | Iterable[str] | None = field(
        default=(),
        metadata={
            "help": "出现这段文字就停，并从那里截断。"
            "End a continuation where this text appears, and cut it off there."
        },
    )
    special: bool = field(
        default=False,
        metadata={
            "help": "提示中特殊词元的名字（如 <sep>）就是该词元；默认只是文字。"
            "Names of special tokens in the prompt, such as <sep>, mean these tokens; "
            "by default they are text."
        },
    )
    seed: int | None = field(
        default=None,
        metadata={
            "help": "随机种子，0 到 2^64-1；相同则结果相同，省略时自选并报告。"
            "The number all randomness comes from, 0 to 2^64-1: the same seed draws the "
            "same texts. By default one is chosen and reported."
        },
    )
    overflow: str = field(
        default="stop",
        metadata={
            "help": "上下文满了怎么办：stop 停下，slide 忘掉前一半再继续。"
            "What to do when the context is full: 'stop' ends the continuation, "
            "'slide' forgets the older half and goes on."
        },
    )
    memory: int = field(
        default=4 << 30,
        metadata={
            "help": "键和值可用的内存（字节）；少则分批，结果不变。"
            "Bytes that keys and values may take, as float32. With less, "
            "fewer continuations grow at a time; the texts are the same."
        },
    )

    def __post_init__(self, order: str | None) -> None:
        super().__post_init__(order)
        check_field(self, "n", low=1, high=MAX_SAMPLES, whole=True)
        check_field(self, "max_tokens", low=1, whole=True)
        check_field(self, "memory", low=1, whole=True)
        if self.seed is not None:
            check_field(self, "seed", low=0, high=2**64 - 1, whole=True)
        check_one_of("overflow", self.overflow, ("stop", "slide"))
        object.__setattr__(self, "stop", _as_tuple(self.stop))


def _as_tuple(stop: Any) -> tuple[Any, ...]:
    """Return stop strings as a tuple: one, several, or none; an iterator is read only once."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str | bytes) else tuple(stop)


@dataclass(frozen=True, kw_only=True)
class VotingOptions(SamplingOptions):
    """The options of `Model.vote`.

    The distribution is the model's own by default, so that a share is the probability that the
    model itself gives to an answer; the tail that top-p cuts off elsewhere does no harm here,
    because its texts are many and their votes are scattered.

    Raises:
        RequestError: a value is out of its range, or does not go with the method.
    """

    n: int = field(
        default=300,
        metadata={
            "help": "抽几段文字；exact 不抽，未给 budget 时以 n 乘 max-tokens 行为限。"
            "How many texts to draw. An exact vote draws none; there n times max-tokens "
            "rows are the budget if none is given."
        },
    )
    max_tokens: int = field(
        default=32,
        metadata={
            "help": "每段最多几个词元；更长的被截断，不算答案。"
            "The most tokens of each text; what is longer is cut off: no answer."
        },
    )
    temperature: Number = field(
        default=1.0,
        metadata={
            "help": "温度：为 1 且 top-p 为 1 时，得票率就是模型给答案的概率；小于 1 偏向可能的。"
            "What logits are divided by: at 1, with top-p 1, a share is the probability "
            "that the model itself gives to an answer; below 1 favours the likely."
        },
    )
    top_p: Number = field(default=1.0, metadata={"help": help_of(Rules, "top_p")})
    stop: str | Iterable[str] | None = field(
        default=(),
        metadata={
            "help": "答案除了在行末，也在出现这段文字时结束。"
            "An answer ends where this text appears, besides at a line's end."
        },
    )
    method: str = field(
        default="sample",
        metadata={
            "help": "sample 各自独立地抽；stratified 均匀地铺开，得票率的误差更小；"
            "exact 从最可能的算起，算出每个答案的概率，直到证明谁赢。"
            "'sample' draws independent texts; 'stratified' spreads them evenly over the "
            "distribution, for shares with less noise; 'exact' computes every answer's "
            "probability, the likeliest first, until the winner is proven."
        },
    )
    answer: str | None = field(
        default=None,
        metadata={
            "help": "文字里什么是答案：number 为第一个数，或正则表达式（取第一组）；默认整段。"
            "What in a text is the answer: 'number' for its first number, or a regular "
            "expression, whose first group it is. By default the whole text."
        },
    )
    aliases: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "help": "把几种写法算作一个答案的文件：每行一个，写法以制表符分隔，显示第一种。"
            "A file of answers that count as one: a line for each, its forms separated "
            "by tabs, the one to show first."
        },
    )
    confidence: Number | None = field(
        default=None,
        metadata={
            "help": "领先者最可能的概率超过它就不再抽，0.5 到 1；得票率便没有区间。默认不用。"
            "Draw no more once the probability that the leader is the likeliest answer "
            "exceeds this, 0.5 to below 1; shares then have no intervals. Off by default."
        },
    )
    budget: int | None = field(
        default=None,
        metadata={
            "help": "exact 至多计算几行，含提示。"
            "The most rows that an exact vote computes, the prompt's included."
        },
    )

    def __post_init__(self, order: str | None) -> None:
        super().__post_init__(order)
        check_one_of("method", self.method, METHODS)
        if self.confidence is not None:
            check_field(self, "confidence", low=0.5, high=1 - 1e-12)
            self._needs("confidence", "method", "sample")
            self._needs("confidence", "overflow", "stop")
        if self.budget is not None:
            check_field(self, "budget", low=1, whole=True)
            self._needs("budget", "method", "exact")
        if self.method == "exact" and self.overflow != "stop":
            raise RequestError("overflow is 'slide'; method 'exact' needs overflow 'stop'")

    def _needs(self, name: str, other: str, wanted: str) -> None:
        """Refuse an option that would have no effect."""
        if (value := getattr(self, other)) != wanted:
            raise RequestError(f"{other} is {value!r}; {name} needs {other} {wanted!r}")

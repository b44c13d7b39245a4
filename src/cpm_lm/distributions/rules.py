"""The options that say how logits become a distribution, with their ranges and words.

Knows options; `draw` applies them.
"""

from __future__ import annotations

import warnings
from dataclasses import InitVar, dataclass, field

from cpm_lm.distributions.checks import Number, check_field, check_one_of

__all__ = ["Rules"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How logits become a distribution.

    Raises:
        RequestError: a value is out of its range.
    """

    temperature: Number = field(
        default=0.9,
        metadata={
            "help": "温度：小于 1 偏向可能的词，大于 1 更均匀，0 总取最可能的词。"
            "What logits are divided by: below 1 favours the likely, above 1 evens out, "
            "0 always takes the likeliest token."
        },
    )
    top_p: Number = field(
        default=0.9,
        metadata={
            "help": "核采样：只在概率合计达到它的最小一组词里抽，至多 1，1 为不用。"
            "Draw only from the smallest set of tokens whose probability together reaches "
            "this, above 0 to 1; 1 is off. It cuts the long tail of unlikely tokens."
        },
    )
    top_k: int = field(
        default=0,
        metadata={
            "help": "只在最可能的这么多个词里抽，0 为不用。"
            "Draw only from this many likeliest tokens; 0 is off."
        },
    )
    filter_order: str = field(
        default="standard",
        metadata={
            "help": "standard：先除温度再筛选；cpm：先筛选再除温度，如原程序。"
            "'standard' applies the temperature before top-k and top-p, "
            "'cpm' after them, as the original program did."
        },
    )

    order: InitVar[str | None] = None
    """Until version 0.3: the old name of `filter_order`."""

    def __post_init__(self, order: str | None) -> None:
        if order is not None:
            warnings.warn(
                "order is now filter_order; the old name goes with version 0.3",
                DeprecationWarning,
                stacklevel=4,
            )
            object.__setattr__(self, "filter_order", order)
        check_field(self, "temperature", low=0)
        check_field(self, "top_p", low=0, high=1, above_low=True)
        check_field(self, "top_k", low=0, whole=True)
        check_one_of("filter_order", self.filter_order, ("standard", "cpm"))

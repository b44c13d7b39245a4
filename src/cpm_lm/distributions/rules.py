"""The sampling rules: the options that turn logits into a distribution, with ranges and help.

Knows options; does not know logits: `draw` and `filters` apply the rules.
"""

from __future__ import annotations

import warnings
from dataclasses import InitVar, dataclass, field

from cpm_lm.choices import FilterOrder, choices
from cpm_lm.distributions.checks import Number, check_field, check_one_of
from cpm_lm.languages import later, tr

__all__ = ["Rules"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules by which logits become a distribution.

    Raises:
        RequestError: a value is out of range.
    """

    temperature: Number = field(
        default=0.9,
        metadata={
            "help": later(
                "Sampling temperature, which divides the logits: below 1 favors likely "
                "tokens, above 1 flattens the distribution, 0 always takes the likeliest "
                "token."
            )
        },
    )
    top_p: Number = field(
        default=0.9,
        metadata={
            "help": later(
                "Nucleus sampling: draw only from the smallest set of tokens whose "
                "probabilities sum to at least this, above 0 to 1; 1 is off."
            )
        },
    )
    top_k: int = field(
        default=0,
        metadata={"help": later("Draw only from this many likeliest tokens; 0 is off.")},
    )
    min_p: Number = field(
        default=0.0,
        metadata={
            "help": later(
                "Drop the tokens less likely than this times the likeliest one, 0 to 1; 0 is off."
            )
        },
    )
    typical_p: Number = field(
        default=1.0,
        metadata={
            "help": later(
                "Typical sampling: keep the tokens whose surprise is nearest to the average, "
                "until their probabilities sum to this, above 0 to 1; 1 is off."
            )
        },
    )
    filter_order: FilterOrder = field(
        default="standard",
        metadata={
            "help": later(
                "'standard' applies the temperature before top-k, top-p and the other "
                "filters, 'cpm' after them, as the original code does."
            )
        },
    )

    order: InitVar[FilterOrder | None] = None
    """Deprecated, until version 0.3: the old name of `filter_order`."""

    def __post_init__(self, order: FilterOrder | None) -> None:
        if order is not None:
            warnings.warn(
                tr("order is now filter_order; the old name goes with version 0.3"),
                DeprecationWarning,
                stacklevel=5,
            )
            object.__setattr__(self, "filter_order", order)
        check_field(self, "temperature", low=0)
        check_field(self, "top_p", low=0, high=1, above_low=True)
        check_field(self, "top_k", low=0, whole=True)
        check_field(self, "min_p", low=0, high=1)
        check_field(self, "typical_p", low=0, high=1, above_low=True)
        check_one_of("filter_order", self.filter_order, choices(FilterOrder))

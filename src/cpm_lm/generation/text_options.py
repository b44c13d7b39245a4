"""The options that samples and votes share: defaults, ranges and help texts, defined only here.

Knows options; does not know models, tokenizers or engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cpm_lm.choices import FilterOrder, Overflow, choices
from cpm_lm.distributions.checks import Number, check_field, check_one_of
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import RequestError
from cpm_lm.generation.token_choices import Ban, read_bans, read_bias
from cpm_lm.languages import later

__all__ = ["MAX_SAMPLES", "TextOptions"]

MAX_SAMPLES = 1_000_000
"""The limit of n: shares then have an error of 0.1%, and a typing error does not run for days."""


@dataclass(frozen=True, kw_only=True)
class TextOptions(Rules):
    """The options that samples and votes share; `checks.help_of` returns a field's help text.

    Raises:
        RequestError: a value is out of range.
    """

    n: int = field(
        default=1,
        metadata={
            "help": later(
                "Number of continuations to draw; the prompt and common prefixes are computed once."
            )
        },
    )
    max_tokens: int = field(
        default=64,
        metadata={
            "help": later("Maximum number of tokens per continuation, the end token included.")
        },
    )
    stop: str | Iterable[str] | None = field(
        default=(),
        metadata={
            "help": later(
                "Stop string: end a continuation where this text appears, and cut it off before it."
            )
        },
    )
    min_tokens: int = field(
        default=0,
        metadata={"help": later("No end token before this many tokens are drawn; 0 is off.")},
    )
    ignore_eos: bool = field(
        default=False,
        metadata={"help": later("Never draw an end token: a text goes on until another limit.")},
    )
    repetition_penalty: Number = field(
        default=1.0,
        metadata={
            "help": later(
                "Repetition penalty: of the tokens in the prompt and the text so far, divide "
                "a logit above 0 by this and multiply another; 0.01 to 100, 1 is off, 1.1 to "
                "1.3 is usual."
            )
        },
    )
    presence_penalty: Number = field(
        default=0.0,
        metadata={
            "help": later(
                "Presence penalty, subtracted from the logit of each token drawn so far; -2 "
                "to 2, 0 is off."
            )
        },
    )
    frequency_penalty: Number = field(
        default=0.0,
        metadata={
            "help": later(
                "Frequency penalty, subtracted from the logit of a token once for each time "
                "it was drawn; -2 to 2, 0 is off."
            )
        },
    )
    no_repeat_ngram: int = field(
        default=0,
        metadata={
            "help": later(
                "No sequence of this many tokens comes twice in the prompt and the text; 0 is off."
            )
        },
    )
    ban: str | Iterable[str | int | Sequence[int]] | None = field(
        default=(),
        metadata={
            "help": later(
                "Banned text: it does not appear in a text, whatever tokens it would consist of."
            )
        },
    )
    bias: Mapping[str | int, Number] | Iterable[str] | None = field(
        default_factory=dict,
        metadata={
            "help": later(
                "Token bias, written TEXT=NUMBER or id:ID=NUMBER: add the number, -100 to "
                "100, to the logit of the tokens with this text, or of the token with this "
                "id."
            )
        },
    )
    special: bool = field(
        default=False,
        metadata={
            "help": later(
                "Names of special tokens in the prompt, such as <sep>, mean these tokens; by "
                "default they are text."
            )
        },
    )
    seed: int | None = field(
        default=None,
        metadata={
            "help": later(
                "Random seed, 0 to 2^64-1; the same seed draws the same texts. By default "
                "chosen at random and shown."
            )
        },
    )
    overflow: Overflow = field(
        default="stop",
        metadata={
            "help": later(
                "When the context is full: 'stop' ends the continuation, 'slide' drops the "
                "older half and continues."
            )
        },
    )
    memory: int = field(
        default=4 << 30,
        metadata={
            "help": later(
                "Memory for the KV cache, such as 4GB, counted in float32. With less memory, "
                "fewer continuations are drawn at a time; the texts do not change (on the "
                "native engine not by a bit)."
            )
        },
    )

    @property
    def bans(self) -> tuple[Ban, ...]:
        """The values of `ban`, in one form."""
        return read_bans(self.ban)

    @property
    def biases(self) -> dict[str | int, Number]:
        """The values of `bias`, in one form."""
        return read_bias(self.bias)

    def __post_init__(self, order: FilterOrder | None) -> None:
        super().__post_init__(order)
        check_field(self, "n", low=1, high=MAX_SAMPLES, whole=True)
        check_field(self, "max_tokens", low=1, whole=True)
        _check_penalties(self)
        check_field(self, "memory", low=1, whole=True)
        if self.seed is not None:
            check_field(self, "seed", low=0, high=2**64 - 1, whole=True)
        check_one_of("overflow", self.overflow, choices(Overflow))
        object.__setattr__(self, "stop", _as_tuple(self.stop))
        object.__setattr__(self, "ban", read_bans(self.ban))
        object.__setattr__(self, "bias", read_bias(self.bias))


def _check_penalties(options: TextOptions) -> None:
    """Check the options that look at the tokens so far.

    Raises:
        RequestError: a value is out of range, or two exclude each other.
    """
    check_field(options, "min_tokens", low=0, whole=True)
    check_field(options, "repetition_penalty", low=0.01, high=100)
    check_field(options, "presence_penalty", low=-2, high=2)
    check_field(options, "frequency_penalty", low=-2, high=2)
    check_field(options, "no_repeat_ngram", low=0, whole=True)
    if options.min_tokens > options.max_tokens:
        raise RequestError(
            "min_tokens is {min_tokens} and max_tokens {max_tokens}; expected "
            "min_tokens to be at most max_tokens",
            min_tokens=options.min_tokens,
            max_tokens=options.max_tokens,
        )
    if options.ignore_eos and options.min_tokens:
        raise RequestError(
            "min_tokens is {min_tokens} and ignore_eos is on, which already keeps "
            "every end token away; give one of them",
            min_tokens=options.min_tokens,
        )


def _as_tuple(stop: Any) -> tuple[Any, ...]:
    """Return stop strings as a tuple: one, several, or none; an iterator is read only once."""
    if stop is None:
        return ()
    return (stop,) if isinstance(stop, str | bytes) else tuple(stop)

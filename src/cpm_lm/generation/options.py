"""The options of samples and votes: defaults, ranges and help texts, defined only here.

Knows options; does not know models, tokenizers or engines.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cpm_lm.choices import FilterOrder, Match, Method, choices
from cpm_lm.distributions.checks import Number, check_field, check_one_of, help_of
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import RequestError
from cpm_lm.generation.choices import read_choices
from cpm_lm.generation.text_options import TextOptions
from cpm_lm.languages import later

__all__ = ["SamplingOptions", "VotingOptions"]


@dataclass(frozen=True, kw_only=True)
class SamplingOptions(TextOptions):
    """The options of `Model.sample`; `checks.help_of` returns the help text of a field.

    Raises:
        RequestError: a value is out of range.
    """

    echo: bool = field(
        default=False,
        metadata={
            "help": later("Begin each text with the prompt."),
        },
    )
    top_logprobs: int = field(
        default=0,
        metadata={
            "help": later(
                "For each token drawn, list this many of the tokens that the model holds "
                "likeliest, with their log-probabilities; 0 lists none."
            )
        },
    )

    def __post_init__(self, order: FilterOrder | None) -> None:
        super().__post_init__(order)
        check_field(self, "top_logprobs", low=0, whole=True)


@dataclass(frozen=True, kw_only=True)
class VotingOptions(TextOptions):
    """The options of `Model.vote`.

    By default the temperature is 1 and there are no filters, so that a share estimates the
    probability that the model gives to an answer. The tail of unlikely tokens, which top-p removes
    elsewhere, hardly changes a vote: its texts are many, and few of them agree.

    Raises:
        RequestError: a value is out of range, or cannot be combined with the method.
    """

    n: int = field(
        default=300,
        metadata={
            "help": later(
                "Number of texts to draw. An exact vote draws none; its default budget is n "
                "times max-tokens rows."
            )
        },
    )
    max_tokens: int = field(
        default=32,
        metadata={
            "help": later(
                "Maximum number of tokens per text; a longer text is cut off and gives no answer."
            )
        },
    )
    temperature: Number = field(
        default=1.0,
        metadata={
            "help": later(
                "Sampling temperature: at 1, with top-p 1, a share estimates the probability "
                "that the model gives to an answer; below 1 favors likely tokens."
            )
        },
    )
    top_p: Number = field(default=1.0, metadata={"help": help_of(Rules, "top_p")})
    stop: str | Iterable[str] | None = field(
        default=(),
        metadata={
            "help": later("An answer ends where this text appears, besides at the end of its line.")
        },
    )
    method: Method = field(
        default="sample",
        metadata={
            "help": later(
                "'sample' draws independent texts; 'stratified' draws stratified ones, whose "
                "shares have less noise; 'exact' computes the answers' probabilities, the "
                "likeliest texts first, until the winner is proven."
            )
        },
    )
    answer: str | None = field(
        default=None,
        metadata={
            "help": later(
                "How to extract the answer from a text: 'number' for its first number, or a "
                "regular expression (its first group, if any). By default the whole text."
            )
        },
    )
    match: Match = field(
        default="first",
        metadata={
            "help": later(
                "Which match of the answer's pattern counts: 'first', or 'last', which is "
                "known only at the end of the text."
            )
        },
    )
    aliases: Mapping[str, str] = field(
        default_factory=dict,
        metadata={
            "help": later(
                "File of aliases: each line holds the forms of one answer, separated by "
                "tabs; the first is shown."
            )
        },
    )
    choices: str | Iterable[str] | None = field(
        default=None,
        metadata={
            "help": later(
                "Vote among these answers only, separated by commas: the probability that a "
                "text begins with each is computed exactly, and nothing is drawn."
            )
        },
    )
    confidence: Number | None = field(
        default=None,
        metadata={
            "help": later(
                "Stop early when the probability that the leader is the likeliest answer "
                "exceeds this, 0.5 to below 1; shares then have no intervals. Off by default."
            )
        },
    )
    whole_line: bool = field(
        default=False,
        metadata={
            "help": later(
                "An answer is always a whole line; by default it ends where the prompt's "
                "examples end, if all of them end with the same mark."
            )
        },
    )
    budget: int | None = field(
        default=None,
        metadata={
            "help": later(
                "Maximum number of rows (tokens computed) of an exact vote, the prompt's included."
            )
        },
    )

    def __post_init__(self, order: FilterOrder | None) -> None:
        super().__post_init__(order)
        check_one_of("method", self.method, choices(Method))
        if self.choices is not None:
            self._check_choices()
        check_one_of("match", self.match, choices(Match))
        if self.match == "last" and self.answer is None:
            raise RequestError("match is 'last' and answer is None; match needs an answer to find")
        if self.confidence is not None:
            check_field(self, "confidence", low=0.5, high=1 - 1e-12)
            self._needs("confidence", "method", "sample")
            self._needs("confidence", "overflow", "stop")
        if self.budget is not None:
            check_field(self, "budget", low=1, whole=True)
            self._needs("budget", "method", "exact")
        if self.method == "exact" and self.overflow != "stop":
            raise RequestError("overflow is 'slide'; method 'exact' needs overflow 'stop'")

    def _check_choices(self) -> None:
        """Check the choices, and that no option is given that they make pointless."""
        object.__setattr__(self, "choices", read_choices(self.choices))
        for name in ("answer", "aliases", "confidence", "stop"):
            if value := getattr(self, name):
                raise RequestError(
                    "{name} is {value!r} and choices are given, which already say what an "
                    "answer is; leave {name} out",
                    name=name,
                    value=value,
                )
        if self.method == "stratified":
            raise RequestError(
                "method is 'stratified' and choices are given, whose probabilities are computed, "
                "not drawn; leave method out"
            )
        if self.overflow != "stop":
            raise RequestError("overflow is 'slide'; choices need overflow 'stop'")
        object.__setattr__(self, "method", "exact")

    def _needs(self, name: str, other: str, wanted: str) -> None:
        """Check that an option has an effect: that another option has the value it needs."""
        if (value := getattr(self, other)) != wanted:
            raise RequestError(
                "{other} is {value!r}; {name} needs {other} {wanted!r}",
                other=other,
                value=value,
                name=name,
                wanted=wanted,
            )

"""Printing the likeliest tokens at each token that was drawn.

Knows samples and the terminal; does not know how the tokens were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from cpm_lm.cli.bars import columns, visible

if TYPE_CHECKING:
    from cpm_lm.generation.completion import Sample, TokenLogprob

__all__ = ["print_logprobs"]


def print_logprobs(samples: Sequence[Sample]) -> None:
    """Print one line for each token drawn, if its alternatives were asked for."""
    for sample in samples:
        if sample.top_logprobs and len(samples) > 1:
            click.echo(f"[{sample.index + 1}]")
        widest = max((columns(_shown(token)) for token in sample.top_logprobs), default=0)
        for token in sample.top_logprobs:
            drawn = _shown(token)
            others = "  ".join(map(_shown, token.top))
            click.echo(f"{drawn}{' ' * (widest - columns(drawn))}  <  {others}")


def _shown(token: TokenLogprob) -> str:
    return f"{visible(token.text)} {token.logprob:.2f}"

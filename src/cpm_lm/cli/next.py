"""`cpm next`: the likeliest next characters, or tokens.

Knows options and printing; does not know probabilities.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import click

from cpm_lm.cli.bars import chart, terminal_width, visible
from cpm_lm.cli.console import Text, print_json
from cpm_lm.cli.options import json_option, model_options, open_model, special_option
from cpm_lm.cli.prompting import PromptCommand, print_notes
from cpm_lm.cli.punctuation import widened, writes_narrow
from cpm_lm.languages import later

__all__ = ["command"]

CLOSE = 0.01
"""Shares from here on are shown to three figures."""
MOST_ZEROS = -12
"""The power of ten down to which a share is written without an exponent."""


@click.command(
    "next",
    cls=PromptCommand,
    short_help=later("List the likeliest next characters."),
)
@click.argument("prompt", type=Text())
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help=later("Number of characters to list."),
)
@click.option(
    "--also",
    type=Text(),
    multiple=True,
    help=later("List this text as well, of any length and however unlikely; may be repeated."),
)
@click.option(
    "--tokens",
    is_flag=True,
    help=later("List tokens instead of characters."),
)
@special_option
@model_options
@json_option
def command(
    prompt: str,
    k: int,
    also: tuple[str, ...],
    tokens: bool,
    special: bool,
    as_json: bool,
    raw: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """List the likeliest next characters after PROMPT, with their probabilities (`-` reads it from
    standard input).

    \b
    cpm next '今天的天空好' --also 晴朗 --also 火箭
    """
    opened = open_model(options)
    call = opened.next_tokens if tokens else opened.next_characters
    found = call(prompt, k, also=also, special=special)
    if as_json:
        print_json(
            {
                "prompt": prompt,
                "note": found.note,
                "next": [_json(item) for item in found],
            }
        )
        return
    wide = not raw and writes_narrow(opened.tokenizer, prompt)
    rows = [
        ((_shown(item.text, prompt if wide else ""), percent(item.probability)), item.probability)
        for item in found
    ]
    for line in chart(rows, width=terminal_width()):
        click.echo(line)
    print_notes(opened, prompt, found.note, verbose=verbose, special=special)


def _json(item: Any) -> dict[str, Any]:
    """Return the fields of an entry; what is impossible has no logarithm in JSON."""
    fields = dataclasses.asdict(item)
    return {name: None if value == -math.inf else value for name, value in fields.items()}


def _shown(text: str, before: str) -> str:
    return visible(widened(text, before) if before else text)


def percent(probability: float) -> str:
    """Return a probability to three figures, or one where it is too small to be compared closely.

    >>> percent(0.43734), percent(0.0014), percent(1.26e-9), percent(1e-20), percent(0.0)
    ('43.7%', '0.14%', '0.0000001%', '1e-18%', '0%')
    """
    share = 100 * probability
    if share >= CLOSE or not share:
        return f"{share:.3g}%"
    exponent = math.floor(math.log10(share))
    return f"{share:.{-exponent}f}%" if exponent >= MOST_ZEROS else f"{share:.0e}%"

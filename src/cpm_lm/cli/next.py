"""`cpm next`: the likeliest next tokens.

Knows options and printing; does not know probabilities.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from cpm_lm.cli.bars import bars, visible
from cpm_lm.cli.console import Text, print_json, read_prompt
from cpm_lm.cli.options import json_option, model_options, open_model, special_option
from cpm_lm.cli.prompting import PromptCommand

__all__ = ["command"]


@click.command(
    "next", cls=PromptCommand, short_help="列出最可能的下一个词元。List the likeliest next tokens."
)
@click.argument("prompt", type=Text())
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="列出几个。Number of tokens to list.",
)
@click.option(
    "--also",
    type=Text(),
    multiple=True,
    help="同时列出这个词元的概率。List this token as well, however unlikely.",
)
@special_option
@model_options
@json_option
def command(
    prompt: str,
    k: int,
    also: tuple[str, ...],
    special: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """列出 PROMPT 之后最可能的词元及其概率。

    List the likeliest next tokens after PROMPT, with their probabilities.

    \b
    cpm next '今天的天空好' --also 黑
    """
    prompt = read_prompt(prompt)
    opened = open_model(options)
    tokens = opened.next_tokens(prompt, k, also=also, special=special)
    notes = opened.read_prompt(prompt, special=special).notes
    if as_json:
        print_json({"prompt": prompt, "next": [dataclasses.asdict(token) for token in tokens]})
        return
    rows = [(visible(t.text), t.probability, f"{100 * t.probability:.3g}%") for t in tokens]
    for line in bars(rows):
        click.echo(line)
    for note in notes:
        click.echo(f"# {note}", err=True)

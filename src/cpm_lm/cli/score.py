"""`cpm score`: how likely given continuations are, or a whole text, token by token.

Knows options and printing; does not know probabilities.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.choices import Boundary, choices
from cpm_lm.cli.bars import columns, shortened, visible
from cpm_lm.cli.console import Text, print_json
from cpm_lm.cli.options import json_option, model_options, open_model
from cpm_lm.cli.prompting import PromptCommand, print_notes
from cpm_lm.generation.perplexity import STRIDE
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.generation.perplexity import Perplexity
    from cpm_lm.generation.scoring import Score
    from cpm_lm.tokenizer import Tokenizer

__all__ = ["command"]

COLORS = ((0.5, 28), (0.1, 64), (0.01, 136), (0.001, 130), (0.0, 124))
"""The lowest probability of each color, and its number among a terminal's 256: green to red."""

MOST = 24
"""The columns of a continuation in the table; its tokens follow in full."""


class ScoreCommand(PromptCommand):
    """Prints pieces, not generated text."""

    shows_text = False


@click.command("score", cls=ScoreCommand, short_help=later("Score continuations or a text."))
@click.argument("prompt", type=Text())
@click.argument("continuations", type=Text(), nargs=-1)
@click.option(
    "--boundary",
    type=click.Choice(choices(Boundary)),
    default="apart",
    show_default=True,
    help=later(
        "'apart' encodes prompt and continuation apart, as they are when drawn; "
        "'joint' encodes them together."
    ),
)
@click.option(
    "--stride",
    type=click.IntRange(min=1),
    default=STRIDE,
    show_default=True,
    help=later("Tokens by which the window over a long text moves."),
)
@model_options
@json_option
def command(
    prompt: str,
    continuations: tuple[str, ...],
    boundary: str,
    stride: int,
    as_json: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Show how likely continuations of PROMPT are; of PROMPT alone, its perplexity (`-` reads it
    from standard input).

    \b
    cpm score '今天的天空好' 蓝 晴朗 火箭
    """
    opened = open_model(options)
    print_notes(opened, prompt, "", verbose=verbose)
    if not continuations:
        found = opened.perplexity(prompt, stride=stride)
        if as_json:
            print_json({"text": prompt, **dataclasses.asdict(found)})
        else:
            _print_perplexity(found, opened.tokenizer)
        return
    scores = opened.score(prompt, continuations, boundary=boundary)  # type: ignore[arg-type]
    if as_json:
        told = [{k: v for k, v in dataclasses.asdict(s).items() if k != "top"} for s in scores]
        print_json({"prompt": prompt, "boundary": boundary, "scores": told})
        return
    _print_scores(scores, opened.tokenizer)


def _print_scores(scores: Sequence[Score], tokenizer: Tokenizer) -> None:
    """Print the scores, likeliest first."""
    names = ("logprob", "per_token", "per_character", "per_byte", "pmi")
    texts = [shortened(visible(score.text), MOST) for score in scores]
    width = max(map(columns, texts))
    places = [max(10, len(name) + 2) for name in names]
    click.echo(" " * width + "".join(map(str.rjust, names, places)))
    for text, score in sorted(zip(texts, scores, strict=True), key=lambda pair: -pair[1].logprob):
        values = [getattr(score, name) for name in names]
        shown = ["-" if value is None else format(value, ".3f") for value in values]
        click.echo(text + " " * (width - columns(text)) + "".join(map(str.rjust, shown, places)))
        for line in _lines(score.token_ids, score.token_logprobs, tokenizer):
            click.echo(f"  {line}")


def _print_perplexity(found: Perplexity, tokenizer: Tokenizer) -> None:
    for line in _lines(found.token_ids, found.token_logprobs, tokenizer):
        click.echo(line)
    click.echo(
        tr(
            "perplexity: {token:.2f}/token, {character:.2f}/character, {byte:.2f}/byte "
            "({n} tokens, stride {stride})",
            token=found.per_token,
            character=found.per_character,
            byte=found.per_byte,
            n=found.tokens,
            stride=found.stride,
        )
    )


def _lines(ids: Sequence[int], logprobs: Sequence[float], tokenizer: Tokenizer) -> Iterator[str]:
    """Yield the tokens with their probabilities, colored by it, in lines that fit the terminal.

    Elsewhere than on a terminal it is one line, and `click.echo` drops the colors.
    """
    plain = bool(os.environ.get("NO_COLOR"))
    room = shutil.get_terminal_size().columns - 2 if sys.stdout.isatty() else math.inf
    line, used = "", 0
    for token, logprob in zip(ids, logprobs, strict=True):
        p = math.exp(logprob)
        color = next(number for lowest, number in COLORS if p >= lowest)
        piece, figure = visible(tokenizer.piece(token)), f" {100 * p:.3g}%"
        size = columns(piece) + len(figure)
        if line and used + 2 + size > room:
            yield line
            line, used = "", 0
        gap = "  " if line else ""
        line += gap + (piece if plain else click.style(piece, bg=color, fg=231)) + figure
        used += len(gap) + size
    yield line

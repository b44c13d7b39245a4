"""`cpm vote`: the answer that most continuations of a prompt give.

Knows options and printing; does not know how texts are drawn or counted.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.cli.bars import chart, columns, shortened, terminal_width, visible
from cpm_lm.cli.console import Text, on_terminal, print_json
from cpm_lm.cli.options import json_option, model_options, open_model, voting_options
from cpm_lm.cli.presetting import preset_option
from cpm_lm.cli.prompting import PromptCommand, cost, echo_note, print_notes
from cpm_lm.cli.punctuation import widened, writes_narrow
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.generation.tally import AnswerShare
    from cpm_lm.generation.vote import Vote

__all__ = ["command"]

REFRESH_SECONDS = 0.1
"""The minimum time between two refreshes of the live tally."""
WIDEST = 32
"""The columns of the longest answer that is shown whole."""
LEAST = 8
"""Columns that an answer has on any terminal."""
NAMEABLE = 0.0005
"""A share below this is shown as 0.0%, which says nothing."""
LIVE_ANSWERS = 8
"""The number of answers in the live tally."""
REASONS = {
    "drawn": later("drawn"),
    "confident": later("confident"),
    "proven": later("proven"),
    "explored": later("explored"),
    "budget": later("budget"),
}
"""Why a vote ended."""


class LiveTally:
    """A tally on stderr that is refreshed in place during a vote; only on a terminal."""

    def __init__(self, shown: Callable[[str], str] = str) -> None:
        self._shown = shown
        self._lines = 0
        self._last = -REFRESH_SECONDS

    def show(self, tally: Sequence[AnswerShare], decided: float) -> None:
        """Print the leading answers in place, at most once per REFRESH_SECONDS."""
        if not on_terminal() or time.monotonic() - self._last < REFRESH_SECONDS:
            return
        self._last = time.monotonic()
        self.clear()
        width = shutil.get_terminal_size().columns - 1
        lines = [
            f"{decided:.0%}",
            *table(tally[:LIVE_ANSWERS], self._shown, width=width, headings=False),
        ]
        click.echo("\n".join(shortened(line, width) for line in lines), err=True)
        self._lines = len(lines)

    def clear(self) -> None:
        """Erase the lines printed."""
        if self._lines:
            click.echo(f"\x1b[{self._lines}F\x1b[J", nl=False, err=True)
            self._lines = 0


@click.command("vote", cls=PromptCommand, short_help=later("Let many continuations vote."))
@click.argument("prompt", type=Text())
@voting_options
@preset_option
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help=later("Number of answers to list."),
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help=later("Plot the tally to this file, .png or .svg."),
)
@model_options
@json_option
def command(
    prompt: str,
    aliases: Path | None,
    k: int,
    picture: Path | None,
    as_json: bool,
    raw: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Let many continuations of PROMPT vote for the answer (`-` reads it from standard input). An
    answer ends at the end of its line.

    \b
    cpm vote $'1+1=2\n1+2=3\n1+3=4\n1+4=' -n 300
    """
    from cpm_lm.generation.answers import read_aliases

    if picture:
        from cpm_lm.cli.plotting import check_plot, plot, title

        check_plot(picture, title(prompt))
    options["aliases"] = read_aliases(aliases) if aliases else None
    opened = open_model(options)
    shown = widened if not raw and writes_narrow(opened.tokenizer, prompt) else str
    live = LiveTally(shown)
    try:
        vote = opened.vote(prompt, **options, on_tally=live.show)
    finally:
        live.clear()
    if as_json:
        print_json({"prompt": prompt, "engine": opened.engine.name, **dataclasses.asdict(vote)})
    else:
        _print(vote, k, opened.engine.name, shown)
        print_notes(opened, prompt, vote.note, verbose=verbose, special=options["special"])
    if picture:
        plot(vote, prompt, picture)


def _print(vote: Vote, k: int, engine: str, shown: Callable[[str], str]) -> None:
    """Print the tally on stdout, and how it was reached on stderr."""
    # Of an exact vote, answers that were hardly explored say nothing.
    named = [r.count is not None or r.share >= NAMEABLE or r.among_choices for r in vote.tally]
    listed = min(k, sum(map(bool, named)) or k)
    for line in table(vote.tally[:listed], shown, width=terminal_width()):
        click.echo(line)
    if more := vote.tally[listed:]:
        share = sum(row.share for row in more)
        click.echo(tr("{n} more answers: {share}", n=len(more), share=_percent(share)))
    for name, share in {
        tr("cut off"): vote.cut_off,
        tr("no answer"): vote.no_answer,
        tr("unexplored"): vote.unexplored,
    }.items():
        if share:
            click.echo(f"{name}: {_percent(share)}")
    if vote.certified:
        click.echo(tr("proven: {answer}", answer=visible(shown(vote.winner or ""))))
    facts = [tr(REASONS[vote.reason])]
    if vote.seed is not None:
        facts.append(tr("seed {seed}, {texts} texts", seed=vote.seed, texts=vote.drawn))
    facts.append(cost(vote.rows, vote.rows_unmerged, vote.seconds))
    echo_note(tr(", ").join([*facts, engine]) + tr("; ") + vote.intervals)
    if vote.filters:
        echo_note("; ".join(vote.filters))


def table(
    tally: Sequence[AnswerShare],
    shown: Callable[[str], str],
    *,
    width: int | None,
    headings: bool = True,
) -> list[str]:
    """Return the lines of a tally.

    Args:
        tally: the answers.
        shown: how an answer is shown.
        width: the columns of the terminal, or None if it is none.
        headings: whether the first line names the columns.
    """
    if any(row.among_choices is not None for row in tally):
        titles = [tr("answer"), tr("among them"), tr("probability")]
        figures = [[f"{row.among_choices or 0:.1%}", _bounds(row)] for row in tally]
    elif any(row.count is None for row in tally):
        titles = [tr("answer"), tr("probability")]
        figures = [[_bounds(row)] for row in tally]
    else:
        titles = [tr("answer"), tr("votes"), tr("share")]
        figures = [[str(row.count), f"{row.share:.1%}"] for row in tally]
        if all(row.low is not None for row in tally):
            titles.append(tr("interval"))
            for cells, row in zip(figures, tally, strict=True):
                cells.append(f"{row.low:.1%} – {row.high:6.1%}")
    most = WIDEST
    if width is not None:  # the figures come first: a longer answer would break the line
        cells_of = zip(titles[1:], *figures, strict=True)
        taken = sum(2 + max(map(columns, column)) for column in cells_of)
        most = max(LEAST, min(most, width - 1 - taken))
    names = [shortened(visible(shown(row.answer)), most) or '""' for row in tally]
    rows = [
        ([name, *cells], row.share if row.among_choices is None else row.among_choices)
        for name, cells, row in zip(names, figures, tally, strict=True)
    ]
    return chart(rows, titles if headings else (), width=width)


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= NAMEABLE else "< 0.1%"


def _bounds(row: AnswerShare) -> str:
    """Return the bounds of an answer's probability, or one figure where they are the same.

    >>> from cpm_lm.generation.tally import AnswerShare
    >>> pairs = [(0.9321, 0.9322), (0.91, 0.95), (1e-6, 2e-6), (1e-6, 0.004)]
    >>> [_bounds(AnswerShare(answer="", share=a, low=a, high=b)) for a, b in pairs]
    ['93.2%', '91.0% –  95.0%', '< 0.1%', '≤ 0.4%']
    """
    low, high = row.low or 0.0, row.high or 0.0
    least, most = f"{low:.1%}", f"{high:.1%}"
    if low < NAMEABLE:
        return "< 0.1%" if high < 2 * NAMEABLE else f"≤ {most}"
    return most if least == most else f"{least} – {most:>6}"

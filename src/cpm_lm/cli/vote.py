"""`cpm vote`: the answer that most continuations of a prompt give.

Knows options and printing; does not know how texts are drawn or counted.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.cli.bars import bars, shortened, visible
from cpm_lm.cli.console import Text, on_terminal, print_json, read_prompt
from cpm_lm.cli.options import json_option, model_options, open_model, voting_options
from cpm_lm.cli.presetting import preset_option
from cpm_lm.cli.prompting import PromptCommand

if TYPE_CHECKING:
    from cpm_lm.generation.tally import AnswerShare
    from cpm_lm.generation.vote import Vote

__all__ = ["command"]

REFRESH_SECONDS = 0.1
"""The minimum time between two refreshes of the live tally."""
LIVE_ANSWERS = 8
"""The number of answers in the live tally."""


class LiveTally:
    """A tally on stderr that is refreshed in place during a vote; only on a terminal."""

    def __init__(self) -> None:
        self._lines = 0
        self._last = -REFRESH_SECONDS

    def show(self, tally: Sequence[AnswerShare], decided: float) -> None:
        """Print the leading answers in place, at most once per REFRESH_SECONDS."""
        if not on_terminal() or time.monotonic() - self._last < REFRESH_SECONDS:
            return
        self._last = time.monotonic()
        self.clear()
        width = shutil.get_terminal_size().columns - 1
        lines = [f"{decided:.0%}", *_chart(tally[:LIVE_ANSWERS])]
        click.echo("\n".join(shortened(line, width) for line in lines), err=True)
        self._lines = len(lines)

    def clear(self) -> None:
        """Erase the lines printed."""
        if self._lines:
            click.echo(f"\x1b[{self._lines}F\x1b[J", nl=False, err=True)
            self._lines = 0


@click.command("vote", cls=PromptCommand, short_help="让许多续写投票。Let many continuations vote.")
@click.argument("prompt", type=Text())
@voting_options
@preset_option
@click.option(
    "-k",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="列出几个答案。Number of answers to list.",
)
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path, dir_okay=False),
    help="把票数画成图（.png 或 .svg）。Plot the tally to this file, .png or .svg.",
)
@model_options
@json_option
def command(
    prompt: str,
    aliases: Path | None,
    k: int,
    picture: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """让 PROMPT 的许多续写投票，选出最多的答案（“-”表示从标准输入读取）。

    Let many continuations of PROMPT vote for the answer (`-` reads it from standard input). An
    answer ends at the end of its line.

    \b
    cpm vote $'1+1=2\\n1+2=3\\n1+3=4\\n1+4=' -n 300
    """
    from cpm_lm.generation.answers import read_aliases

    if picture:
        from cpm_lm.cli.plotting import check_plot, plot

        check_plot(picture)
    prompt = read_prompt(prompt)
    options["aliases"] = read_aliases(aliases) if aliases else None
    opened = open_model(options)
    live = LiveTally()
    try:
        vote = opened.vote(prompt, **options, on_tally=live.show)
    finally:
        live.clear()
    if as_json:
        print_json({"prompt": prompt, "engine": opened.engine.name, **dataclasses.asdict(vote)})
    else:
        _print(vote, k, opened.engine.name)
    if picture:
        plot(vote, prompt, picture)


def _print(vote: Vote, k: int, engine: str) -> None:
    """Print the tally on stdout, and how it was reached on stderr."""
    for line in _chart(vote.tally[:k]):
        click.echo(line)
    if more := vote.tally[k:]:
        share = sum(row.share for row in more)
        click.echo(f"另有 {len(more)} 个答案 more answers: {share:.1%}")
    for name, share in {
        "截断 cut off": vote.cut_off,
        "无答案 no answer": vote.no_answer,
        "未探索 unexplored": vote.unexplored,
    }.items():
        if share:
            click.echo(f"{name}: {share:.1%}")
    if vote.certified:
        click.echo(f"已证明 proven: {visible(vote.winner or '')}")
    drawn = "" if vote.seed is None else f"seed {vote.seed}, {vote.drawn} texts, "
    unmerged = "" if vote.rows_unmerged is None else f" ({vote.rows_unmerged} unmerged)"
    click.echo(
        f"# {vote.reason}, {drawn}{vote.rows} rows{unmerged}, {vote.seconds:.1f} s, {engine}; "
        f"{vote.intervals}",
        err=True,
    )
    if vote.filters:
        click.echo(f"# {'; '.join(vote.filters)}", err=True)
    if vote.note:
        click.echo(f"# {vote.note}", err=True)


def _chart(tally: Sequence[AnswerShare]) -> list[str]:
    return bars(
        [
            (
                shortened(visible(t.answer), 32) or '""',
                t.share if t.among_choices is None else t.among_choices,
                _figures(t),
            )
            for t in tally
        ]
    )


def _figures(row: AnswerShare) -> str:
    """Return an answer's count and share, and its interval if there is one."""
    interval = "" if row.low is None or row.high is None else f"{row.low:5.1%} – {row.high:6.1%}"
    if row.among_choices is not None:
        return f"{row.among_choices:6.1%}  ({interval})"
    if row.count is None:
        return interval
    return f"{row.count}  {row.share:6.1%}" + (f"  ({interval})" if interval else "")

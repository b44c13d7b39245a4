"""`cpm remove`: remove models that have a name.

Knows options, questions and printing; does not know which files are a model's.
"""

from __future__ import annotations

import sys

import click

from cpm_lm.cli.console import listed, one_line
from cpm_lm.cli.figures import bytes_text
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.types import InstalledName
from cpm_lm.errors import RequestError
from cpm_lm.languages import later, tr

__all__ = ["command"]


@click.command("remove", cls=Verb, short_help=later("Remove models that have a name."))
@click.argument("names", type=InstalledName(), nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help=later("Do not ask."))
def command(names: tuple[str, ...], yes: bool) -> None:
    """Remove the models NAMES that `cpm list` shows. Only files that a conversion wrote are
    removed; what Hugging Face's cache holds of a download stays.
    """
    from cpm_lm.checkpoints.removal import plan_removal, remove

    planned = plan_removal(names)
    for plan in planned:
        what = "a link" if plan.link else f"{len(plan.files)} files, {bytes_text(plan.bytes)}"
        click.echo(f"{one_line(plan.path)}: {what}", err=True)
        if plan.kept:
            click.echo(f"# stays, not written by cpm: {one_line(listed(plan.kept))}", err=True)
    if not yes:
        _ask(len(planned))
    for plan in planned:
        remove(plan)
    total = sum(plan.bytes for plan in planned)
    click.echo(tr("removed: {n}, freed {size}", n=len(planned), size=bytes_text(total)))


def _ask(count: int) -> None:
    """Ask on a terminal; elsewhere nobody can answer.

    Raises:
        RequestError: there is no terminal, or the answer is no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise RequestError("nothing was removed: without a terminal to ask on, give --yes")
    if not click.confirm(tr("remove {count}?", count=count), err=True):
        raise RequestError("nothing was removed")

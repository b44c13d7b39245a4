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

__all__ = ["command"]


@click.command("remove", cls=Verb, short_help="删除有名字的模型。Remove models that have a name.")
@click.argument("names", type=InstalledName(), nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="不询问。Do not ask.")
def command(names: tuple[str, ...], yes: bool) -> None:
    """删除 cpm list 列出的模型 NAMES；只删除转换时写的文件。

    Remove the models NAMES that `cpm list` shows. Only files that a conversion wrote are removed;
    what Hugging Face's cache holds of a download stays.
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
    click.echo(f"已删除 removed: {len(planned)}，释放 freed {bytes_text(total)}")


def _ask(count: int) -> None:
    """Ask on a terminal; elsewhere nobody can answer.

    Raises:
        RequestError: there is no terminal, or the answer is no.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise RequestError("nothing was removed: without a terminal to ask on, give --yes")
    if not click.confirm(f"删除 remove {count}?", err=True):
        raise RequestError("nothing was removed")

"""`cpm help`: the help page of a verb.

Knows verbs by name; does not know what they do.
"""

from __future__ import annotations

from typing import Any

import click

from cpm_lm.cli.help_pages import Verb
from cpm_lm.languages import later

__all__ = ["command"]


class VerbName(click.ParamType[str]):
    """The name of a verb."""

    name = "verb"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the name."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """Return the verbs that begin so."""
        root = ctx.find_root()
        return root.command.shell_complete(root, incomplete)


@click.command("help", cls=Verb, short_help=later("Show the help page of a verb."))
@click.argument("verbs", metavar="[VERB]", type=VerbName(), nargs=-1)
@click.pass_context
def command(ctx: click.Context, verbs: tuple[str, ...]) -> None:
    """Show the help page of VERB, by default the list of all verbs. It is that of `cpm VERB
    --help`.
    """
    page = ctx.find_root()
    for verb in verbs:
        group = page.command
        found = group.get_command(page, verb) if isinstance(group, click.Group) else None
        if found is None:
            verbs_here = group.list_commands(page) if isinstance(group, click.Group) else []
            raise click.NoSuchCommand(verb, possibilities=verbs_here, ctx=page)
        page = found.context_class(found, info_name=verb, parent=page)
        page.help_option_names = ["-h", "--help"]
    click.echo(page.get_help())

"""`cpm completion`: the script that lets a shell complete verbs, options and names of models.

Knows the shells; does not know what is completed, which click asks each parameter's type.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cpm_lm.cli.help_pages import Verb
from cpm_lm.languages import later

__all__ = ["command"]

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_CPM_COMPLETE"
"""The environment variable by which the script asks `cpm` for completions; click's name for it."""


@click.command("completion", cls=Verb, short_help=later("Print a completion script."))
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes verbs, options, their values and names of models.
    To install it, add the line of your shell to its file:

    \b
    ~/.bashrc                   eval "$(cpm completion bash)"
    ~/.zshrc                    eval "$(cpm completion zsh)"
    ~/.config/fish/config.fish  cpm completion fish | source
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "cpm", VARIABLE).source())

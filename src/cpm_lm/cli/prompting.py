"""Commands whose first argument is a text: it may begin with a dash, as `-5+3=` does.

Knows click; does not know what is done with the text.
"""

from __future__ import annotations

import re

import click

from cpm_lm.cli.help_pages import Verb

__all__ = ["PromptCommand", "is_option"]

OPTION = re.compile(r"--?[A-Za-z][A-Za-z_-]*(=.*)?", re.DOTALL)
"""What looks like an option, known or not."""


class PromptCommand(Verb):
    """Takes an argument that begins with a dash, but does not look like an option, as the text."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; where an unknown option is no option at all, parse again with it as the text."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            at = next((i for i, arg in enumerate(given) if _is_text(arg, error.option_name)), None)
            if at is None or "--" in given:
                raise
            ctx.params.clear()
            return super().parse_args(ctx, [*given[:at], *given[at + 1 :], "--", given[at]])


def _is_text(argument: str, option: str) -> bool:
    """Say whether an argument was taken for this unknown option and is none."""
    return argument.startswith(option) and not is_option(argument)


def is_option(argument: str) -> bool:
    """Say whether an argument looks like an option, known or not."""
    return bool(OPTION.fullmatch(argument)) or argument in ("-", "--")

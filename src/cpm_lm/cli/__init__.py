"""The command `cpm`: parses, calls one function, prints. Knows no algorithm."""

from __future__ import annotations

import importlib
from typing import Any

import click

from cpm_lm.cli.console import reporting_errors, use_utf8

__all__ = ["main"]

VERBS = (
    "bench",
    "compare",
    "convert",
    "export",
    "inspect",
    "next",
    "pull",
    "sample",
    "verify",
    "vote",
)


class LazyGroup(click.Group):
    """Imports a verb's file when it is asked for, so that `cpm --help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs, sorted."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"cpm_lm.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; what a user or a file caused ends as one line, never as a traceback."""
        with reporting_errors():
            return super().invoke(ctx)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cpm-lm", message="cpm-lm %(version)s")
def cpm() -> None:
    """运行 CPM-LM（26 亿参数的中文 GPT）及其同类。

    Run CPM-LM, the 2.6-billion-parameter Chinese GPT, and its relatives.
    """


def main() -> None:
    """Start the command line; the console script's entry."""
    use_utf8()
    with reporting_errors():  # the help is printed before any verb is run
        cpm()

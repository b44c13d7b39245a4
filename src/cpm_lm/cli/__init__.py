"""The command `cpm` and its verbs: each parses, calls one function and prints.

Knows the names of the verbs; does not know what they compute.
"""

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
    "eval",
    "export",
    "inspect",
    "next",
    "preset",
    "pull",
    "sample",
    "score",
    "verify",
    "vote",
)


class LazyGroup(click.Group):
    """Imports a verb's module only when it is used, so that `cpm --help` is fast."""

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
        """Run a verb; an error caused by a user or a file prints one line, not a traceback."""
        with reporting_errors():
            return super().invoke(ctx)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cpm-lm", message="cpm-lm %(version)s")
def cpm() -> None:
    """运行 CPM-LM（26 亿参数的中文 GPT）及同类模型。

    Run CPM-LM, the Chinese GPT of 2.6 billion parameters, and similar models.
    """


def main() -> None:
    """Run the command line: the entry point of the console script."""
    use_utf8()
    with reporting_errors():  # also here, because `--help` prints before `LazyGroup.invoke`
        cpm()

"""The command `cpm` and its verbs: each parses, calls one function and prints.

Knows the names of the verbs; does not know what they compute.
"""

from __future__ import annotations

import difflib
import importlib
import re
from typing import Any, NoReturn

import click

from cpm_lm.cli.console import reporting_errors, use_utf8
from cpm_lm.cli.help_pages import (
    OUTPUT,
    SectionOption,
    VerbContext,
    language_option,
    write_sections,
)
from cpm_lm.cli.localized import check_variable, translate_click
from cpm_lm.cli.prompting import is_option
from cpm_lm.cli.signals import signals_end_the_command
from cpm_lm.languages import later, tr

__all__ = ["main"]

SECTIONS = {
    later("Generate"): ("sample", "next", "vote", "score"),
    later("Models"): ("list", "pull", "show", "remove"),
    later("Checkpoints"): ("inspect", "convert", "verify", "compare", "eval", "export"),
    later("Other"): ("bench", "completion", "preset", "help"),
}
"""The verbs by their section on the help page, those asked for most first."""
VERBS = tuple(sorted(verb for verbs in SECTIONS.values() for verb in verbs))

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What can be meant as a verb. Any other first argument is a text: it has a blank, punctuation or
a character that is not ASCII."""


def refuse_verb(word: str, ctx: click.Context) -> NoReturn:
    """Raise the error for a word that is no verb, with the nearest one."""
    if near := difflib.get_close_matches(word, VERBS, n=1):
        raise click.UsageError(
            tr(
                "No such command {word!r}. Did you mean {near!r}? To continue a text: "
                "cpm sample {word}",
                word=word,
                near=near[0],
            ),
            ctx,
        )
    raise click.UsageError(
        tr(
            "No such command {word!r}; cpm help lists all. To continue a text: cpm sample {word}",
            word=word,
        ),
        ctx,
    )


class LazyGroup(click.Group):
    """Imports a verb's module only when it is used, so that `cpm --help` is fast."""

    context_class = VerbContext

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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; a text that begins with a dash and is no option is a text to sample."""
        if args and args[0].startswith("-") and not is_option(args[0]):
            args = ["sample", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb and its arguments: `sample` if the first argument is a text."""
        first = args[0]
        if not WORD.fullmatch(first):
            args = ["sample", *args]
        elif first not in VERBS and not ctx.resilient_parsing:
            refuse_verb(first, ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs by section, then the options."""
        for section, verbs in SECTIONS.items():
            commands = [(verb, self.get_command(ctx, verb)) for verb in verbs]
            with formatter.section(tr(section)):
                formatter.write_dl(
                    [(verb, tr(each.short_help or "")) for verb, each in commands if each]
                )
        write_sections(self, ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb; an error caused by a user or a file prints one line, not a traceback."""
        with reporting_errors():
            return super().invoke(ctx)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    params=[language_option()],
)
@click.version_option(
    None,
    "-V",
    "--version",
    cls=SectionOption,
    section=OUTPUT,
    package_name="cpm-lm",
    message="cpm-lm %(version)s",
    help=later("Show the version."),
)
@click.pass_context
def cpm(ctx: click.Context) -> None:
    """Run CPM-LM, the Chinese GPT of 2.6 billion parameters, and similar models. Try first:

    \b
    cpm 床前明月光，
    cpm next 今天的天空好
    cpm vote 12+5=17,30+41=71,25+16=41,46+27= --answer number

    A first argument that is no command but a text (with a blank, punctuation or a character that is
    not ASCII) is continued: short for `cpm sample`.
    """
    check_variable()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """Run the command line: the entry point of the console script."""
    use_utf8()
    # Errors are reported here too, because `--help` prints before `LazyGroup.invoke`.
    with signals_end_the_command(), reporting_errors():
        translate_click()
        cpm(prog_name="cpm")

"""Help pages: options in sections, wrapped by width; the base class of all verbs.

Knows click; does not know which verbs and options there are.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterable
from typing import Any

import click

from cpm_lm.cli.bars import columns
from cpm_lm.cli.localized import choose_language
from cpm_lm.cli.types import ByteSize, size_text
from cpm_lm.cli.wrapping import joined, wrapped
from cpm_lm.languages import LANGUAGES, later, tr

__all__ = [
    "ADVANCED",
    "MODEL",
    "OUTPUT",
    "OWN",
    "PROMPT",
    "SAMPLING",
    "SectionOption",
    "Verb",
    "VerbContext",
    "VerbGroup",
    "language_option",
    "write_sections",
]

OWN, SAMPLING, PROMPT, MODEL, OUTPUT, ADVANCED = SECTIONS = (
    later("Options"),
    later("Sampling"),
    later("Prompt"),
    later("Model"),
    later("Output"),
    later("Advanced"),
)
"""The sections of options, in their order on a page."""
WIDTHS = (40, 120)
"""The narrowest and the widest page, in columns; between them a page is as wide as the terminal."""
TERM = 24
"""Columns of the longest option that stands on one line with its help."""


class Formatter(click.HelpFormatter):
    """Wraps by display width and breaks no word."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        least, most = WIDTHS
        # The last column stays free: some terminals wrap a line that fills it.
        found = shutil.get_terminal_size().columns - 1 if width is None else width
        super().__init__(indent_increment, max(least, min(found, max_width or most)))

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write the usage line."""
        start = f"{tr('Usage: ') if prefix is None else prefix}{prog} "
        lines = wrapped(args, max(self.width - columns(start), 20))
        starts = [start, *[" " * columns(start)] * (len(lines) - 1)]
        self.write("".join(f"{a}{b}".rstrip() + "\n" for a, b in zip(starts, lines, strict=True)))

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        self.write(f"{' ' * self.current_indent}{heading}{tr(':')}\n")

    def write_text(self, text: str) -> None:
        """Write paragraphs; one that begins with a line \\b keeps its lines."""
        indent = " " * self.current_indent
        paragraphs = []
        for lines in _paragraphs(text):
            if lines[0].strip() == "\b":
                kept = lines[1:]
            else:
                kept = wrapped(tr(joined(lines)), self.width - self.current_indent)
            paragraphs.append("".join(f"{indent}{line}".rstrip() + "\n" for line in kept))
        self.write("\n".join(paragraphs))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = TERM, col_spacing: int = 2
    ) -> None:
        """Write terms and their descriptions; a long term has lines of its own."""
        rows = list(rows)
        short = [columns(term) for term, _ in rows if columns(term) <= col_max]
        indent = " " * self.current_indent
        first = max(short, default=col_max) + col_spacing
        rest = max(self.width - self.current_indent - first, 20)
        for term, text in rows:
            lines = wrapped(text, rest) if text else []
            if columns(term) > first - col_spacing:
                own = wrapped(term, self.width - self.current_indent)
                self.write("".join(f"{indent}{line}\n" for line in own))
            else:
                head = lines.pop(0) if lines else ""
                self.write(f"{indent}{term}{' ' * (first - columns(term))}{head}".rstrip() + "\n")
            self.write("".join(f"{indent}{' ' * first}{line}\n" for line in lines))


def _paragraphs(text: str) -> list[list[str]]:
    """Return the lines of each paragraph; blank lines separate them."""
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip(" \t"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [lines for lines in found if lines]


class SectionOption(click.Option):
    """An option that knows its section on the help page."""

    def __init__(self, *args: Any, section: str = OWN, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """Return what is shown in brackets; a size in its largest unit."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.type, ByteSize) and isinstance(self.default, int):
            extra["default"] = size_text(self.default)
        return extra


def language_option() -> click.Parameter:
    """Return the option --lang."""
    return SectionOption(
        ["--lang"],
        section=OUTPUT,
        type=click.Choice(LANGUAGES),
        expose_value=False,
        is_eager=True,
        callback=choose_language,
        help=later("Language of messages: Chinese or English. By default that of the system."),
    )


class VerbContext(click.Context):
    """A context whose help pages are made by `Formatter`."""

    formatter_class = Formatter


class Verb(click.Command):
    """A verb: options in sections, and a long option with one dash is understood as a slip."""

    context_class = VerbContext

    def __init__(
        self, name: str | None, *, params: list[click.Parameter] | None = None, **rest: Any
    ) -> None:
        super().__init__(name, params=[*(params or []), language_option()], **rest)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section."""
        write_sections(self, ctx, formatter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; for `-temperature` suggest `--temperature`, not an option -t."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            slip = next((arg for arg in given if arg.startswith(error.option_name)), "")
            if error.possibilities or slip.startswith("--") or len(slip) < 3:
                raise
            options = [name for param in self.get_params(ctx) for name in param.opts]
            near = difflib.get_close_matches("-" + slip.split("=")[0], options)
            if not near:
                raise
            raise click.NoSuchOption(slip, possibilities=near, ctx=ctx) from None


class VerbGroup(Verb, click.Group):
    """A verb with verbs of its own, all with such help pages."""

    command_class = Verb
    group_class = type

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section, then the verbs."""
        write_sections(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def write_sections(
    command: click.Command, ctx: click.Context, formatter: click.HelpFormatter
) -> None:
    """Write a command's options, one list for each section that has any."""
    records: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
    for param in command.get_params(ctx):
        record = _record(param, ctx) if isinstance(param, click.Option) else None
        if record is None:
            continue
        is_help = param is command.get_help_option(ctx)
        term, text = record
        term = term.replace(" RANGE", "")  # the range itself is in the text
        records[OUTPUT if is_help else getattr(param, "section", OWN)].append((term, text))
    for section, rows in records.items():
        if rows:
            with formatter.section(tr(section)):
                formatter.write_dl(rows)


def _record(option: click.Option, ctx: click.Context) -> tuple[str, str] | None:
    """Return an option and its help in the language of the person; None: it is hidden."""
    english, option.help = option.help, option.help and tr(option.help)
    try:
        return option.get_help_record(ctx)
    finally:
        option.help = english

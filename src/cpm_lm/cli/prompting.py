"""Commands whose first argument is a prompt: where it comes from, and how it is written.

Knows click and files; does not know what is done with the prompt. The argument may begin with a
dash, as `-5+3=` does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.cli.bars import terminal_width, visible
from cpm_lm.cli.console import Text
from cpm_lm.cli.few_shot import TEMPLATE, few_shot, read_shot, unescaped
from cpm_lm.cli.help_pages import OUTPUT, PROMPT, SectionOption, Verb
from cpm_lm.cli.wrapping import wrapped
from cpm_lm.encodings import decoded
from cpm_lm.errors import RequestError
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.model import Model

__all__ = ["PromptCommand", "cost", "echo_note", "is_option", "print_notes"]

OPTION = re.compile(r"--?[A-Za-z][A-Za-z_-]*(=.*)?", re.DOTALL)
"""What looks like an option, known or not."""
LITERAL = frozenset({"answer", "template", "shots"})
"""Texts that -e does not change as a whole: a regular expression has backslashes of its own, a
template is always read with escapes, and an example is parted first."""


class PromptCommand(Verb):
    """Adds the options that say what the prompt is, and passes on the prompt alone.

    The verb gets `prompt`, and the flags `verbose` and `raw`.
    """

    shows_text = True
    """Whether the verb prints generated text, and so has the flag `raw`."""

    def __init__(
        self, name: str | None, *, params: list[click.Parameter] | None = None, **rest: Any
    ) -> None:
        given = list(params or [])
        for param in given:
            if param.name == "prompt":
                param.required = False  # --file may give it
        options = [each for each in _prompt_options() if self.shows_text or each.name != "raw"]
        super().__init__(name, params=[*given, *options], **rest)

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

    def invoke(self, ctx: click.Context) -> Any:
        """Read the prompt, then run the verb."""
        if escapes := ctx.params.pop("escapes"):
            ctx.params |= {
                param.name: _unescaped(ctx.params[param.name])
                for param in self.params
                if isinstance(param.type, Text) and param.name in ctx.params.keys() - LITERAL
            }
        ctx.params["prompt"] = _prompt(
            ctx.params["prompt"],
            file=ctx.params.pop("file"),
            encoding=ctx.params.pop("encoding"),
            shots=[read_shot(shot, escapes=escapes) for shot in ctx.params.pop("shots")],
            template=ctx.params.pop("template"),
        )
        return super().invoke(ctx)


def print_notes(
    model: Model, prompt: str, note: str, *, verbose: bool, special: bool = False
) -> None:
    """Print what may not have been meant, on stderr.

    Args:
        model: the model.
        prompt: the prompt.
        note: the note of the result.
        verbose: whether to say also what did not matter.
        special: whether names of special tokens in the prompt mean these tokens.
    """
    for line in note.splitlines():
        echo_note(line)
    if verbose:
        read = model.read_prompt(prompt, special=special)
        echo_note(f"prompt: {len(read.ids)} tokens, {visible(prompt)}")
        if read.word and read.word.word not in note:
            echo_note(read.word.aside)


def echo_note(text: str) -> None:
    """Print a note on stderr; on a terminal no word is broken at the end of a line."""
    width = terminal_width(err=True)
    for line in wrapped(text, max(width - 3, 20)) if width else [text]:
        click.echo(f"# {line}", err=True)


def cost(rows: int, unmerged: int | None, seconds: float) -> str:
    """Return what a generation cost, and what it would have cost without merged prefixes."""
    if unmerged is None:
        return tr("{rows} rows, {seconds:.1f} s", rows=rows, seconds=seconds)
    return tr(
        "{rows} rows ({unmerged} unmerged), {seconds:.1f} s",
        rows=rows,
        unmerged=unmerged,
        seconds=seconds,
    )


def _prompt_options() -> list[click.Parameter]:
    return [
        SectionOption(
            ["--file"],
            section=PROMPT,
            type=click.Path(path_type=Path, allow_dash=True),
            help=later(
                "File that holds the prompt, - for standard input; a line end at its end is "
                "left out."
            ),
        ),
        SectionOption(
            ["--encoding"],
            section=PROMPT,
            help=later(
                "Encoding of the file or of standard input, such as gb18030; by default "
                "UTF-8, or what a mark at the beginning says."
            ),
        ),
        SectionOption(
            ["-e", "escapes"],
            section=PROMPT,
            is_flag=True,
            help=later(
                "In the prompt and the texts of options, \\n is a line end, \\t a tab, \\\\ a "
                "backslash."
            ),
        ),
        SectionOption(
            ["--shot", "shots"],
            section=PROMPT,
            type=Text(),
            multiple=True,
            metavar="Q=A",
            help=later(
                "Example to put before PROMPT, a question and its answer; may be repeated. A "
                "= within the question is written \\=."
            ),
        ),
        SectionOption(
            ["--template"],
            section=PROMPT,
            type=Text(),
            default=None,
            show_default=TEMPLATE,
            help=later("How an example is written; PROMPT is written so up to {a}."),
        ),
        SectionOption(
            ["--raw"],
            section=OUTPUT,
            is_flag=True,
            help=later(
                "Show punctuation as it is generated; by default it is shown wide between "
                "Chinese characters. --json always has it as generated."
            ),
        ),
        SectionOption(
            ["-v", "--verbose"],
            section=OUTPUT,
            is_flag=True,
            help=later("Also print notes that seldom matter."),
        ),
    ]


def _prompt(
    text: str | None,
    *,
    file: Path | None,
    encoding: str | None,
    shots: Sequence[tuple[str, str]],
    template: str | None,
) -> str:
    """Return the prompt that the arguments and options say."""
    if text is not None and file is not None:
        raise click.UsageError(tr("PROMPT and --file both give the prompt; leave one of them out"))
    if text is None and file is None:
        raise click.UsageError(
            tr("no prompt; give PROMPT, or --file FILE, or - to read it from standard input")
        )
    if template is not None and not shots:
        raise click.UsageError(tr("--template says how --shot is written, and there is no --shot"))
    source = Path(text) if text == "-" else file
    if source is not None:
        text = _read(source, encoding)
    elif encoding is not None:
        raise click.UsageError(tr("--encoding is for --file and -; PROMPT is Unicode already"))
    assert text is not None
    if not shots:
        return text
    return few_shot(shots, text, TEMPLATE if template is None else template)


def _read(path: Path, encoding: str | None) -> str:
    """Return the text of a file, or of standard input, without a line end at its end."""
    if str(path) != "-":
        what, data = str(path), path.read_bytes()
    elif sys.stdin is None:  # the parent process has closed it
        raise RequestError("the prompt is -, but standard input is closed; give the text itself")
    else:
        what, data = "standard input", sys.stdin.buffer.read()
    text = decoded(what, data, encoding=encoding, advice=lambda name: f"add --encoding {name}")
    return text.replace("\r\n", "\n").removesuffix("\n")


def _unescaped(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value and unescaped(value)
    return tuple(unescaped(text) for text in value)


def _is_text(argument: str, option: str) -> bool:
    """Say whether an argument was taken for this unknown option and is none."""
    return argument.startswith(option) and not is_option(argument)


def is_option(argument: str) -> bool:
    """Say whether an argument looks like an option, known or not."""
    return bool(OPTION.fullmatch(argument)) or argument in ("-", "--")

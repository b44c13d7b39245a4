"""Options that several verbs share; the words of sampling options are those of the library."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cpm_lm.cli.console import Text
from cpm_lm.engines.select import OPEN
from cpm_lm.generation.options import METHODS, SamplingOptions, VotingOptions

__all__ = [
    "engine_options",
    "heads_option",
    "json_option",
    "model_options",
    "overwrite_option",
    "sampling_options",
    "voting_options",
]

F = TypeVar("F", bound=Callable[..., Any])

CHOICES = {"order": ("standard", "cpm"), "overflow": ("stop", "slide"), "method": METHODS}
KINDS: dict[str, Any] = {
    "stop": Text(),
    "seed": int,
    "answer": Text(),
    "aliases": click.Path(path_type=Path, exists=True, dir_okay=False),
    "confidence": float,
    "budget": int,
}
"""Of the fields whose default does not tell it."""
FIRST = ("n", "max_tokens", "stop", "seed")
"""What is asked for most comes first in the help."""
SHORT = {"n": ["-n"]}

heads_option = click.option(
    "--heads",
    type=click.IntRange(min=1),
    help="注意力头数，若文件里没有写。Attention heads, where the files do not say.",
)
overwrite_option = click.option(
    "--overwrite",
    is_flag=True,
    help="替换已有的目标，连同其中所有文件。Replace an existing target, with all files in it.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="输出 JSON。Print JSON.")


def engine_options(command: F) -> F:
    """Add --engine and --threads."""
    for option in (
        click.option(
            "--threads", type=click.IntRange(min=1), help="线程数。Threads the engine uses."
        ),
        click.option(
            "--engine",
            type=click.Choice(["auto", *OPEN]),
            default="auto",
            show_default=True,
            help="用什么计算。What computes.",
        ),
    ):
        command = option(command)
    return command


def model_options(command: F) -> F:
    """Add --model, --engine and --threads."""
    return click.option(
        "--model",
        "-m",
        type=click.Path(path_type=Path),
        help="cpm convert 得到的目录；省略时用自带的小模型。"
        "A directory that `cpm convert` made; default: the small model in the package.",
    )(engine_options(command))


def options_of(options: type) -> Callable[[F], F]:
    """Return what adds every field of a class as an option of the same name, default and words."""

    def add(command: F) -> F:
        for field in reversed(dataclasses.fields(options)):
            several = field.name == "stop"
            given = None if field.default is dataclasses.MISSING else field.default
            kind = KINDS.get(field.name, type(given))
            if field.name in CHOICES:
                kind = click.Choice(CHOICES[field.name])
            command = click.option(
                *SHORT.get(field.name, ["--" + field.name.replace("_", "-")]),
                field.name,
                type=kind,
                multiple=several,
                default=given,
                show_default=not several and given is not None,
                help=field.metadata["help"],
            )(command)
        return command

    return add


sampling_options = options_of(SamplingOptions)
voting_options = options_of(VotingOptions)

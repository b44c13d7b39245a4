"""Command-line options that several verbs share, made from the options classes of the library.

Knows click and the options classes, which own the defaults and help texts; does not know verbs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cpm_lm.checkpoints.options import ConvertOptions
from cpm_lm.choices import (
    EngineName,
    FilterOrder,
    FormName,
    Layout,
    Match,
    Method,
    Overflow,
    TextStyleName,
    WeightFormat,
    choices,
)
from cpm_lm.cli.console import Text
from cpm_lm.cli.help_pages import ADVANCED, MODEL, OUTPUT, OWN, SAMPLING, SectionOption
from cpm_lm.cli.types import ByteSize, ModelPath
from cpm_lm.engines.options import EngineOptions
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.languages import later, tr

__all__ = [
    "convert_options",
    "engine_options",
    "heads_option",
    "json_option",
    "model_option",
    "model_options",
    "name_option",
    "open_model",
    "options_of",
    "output_path",
    "overwrite_option",
    "sampling_options",
    "special_option",
    "text_style_option",
    "voting_options",
]

if TYPE_CHECKING:
    from cpm_lm.model import Model

F = TypeVar("F", bound=Callable[..., Any])
NONE: Mapping[str, str] = MappingProxyType({})

CHOICES: dict[str, Sequence[str]] = {
    "filter_order": choices(FilterOrder),
    "overflow": choices(Overflow),
    "match": choices(Match),
    "method": choices(Method),
    "engine": choices(EngineName),
    "to": choices(FormName),
    "weights": choices(WeightFormat),
    "layout": choices(Layout),
    "text_style": choices(TextStyleName),
}
KINDS: dict[str, Any] = {
    "stop": Text(),
    "ban": Text(),
    "bias": Text(),
    "choices": Text(),
    "seed": int,
    "answer": Text(),
    "memory": ByteSize(),
    "aliases": click.Path(path_type=Path, exists=True, dir_okay=False),
    "confidence": float,
    "budget": int,
    "threads": click.IntRange(min=1),
    "heads": click.IntRange(min=1),
    "ranks": click.IntRange(min=1),
    "config": click.Path(path_type=Path, exists=True, dir_okay=False),
    "tokenizer": click.Path(path_type=Path, exists=True, file_okay=False),
}
"""The click type of each field whose default value does not determine it."""
SEVERAL = ("stop", "ban", "bias")
"""Fields whose option may be given several times."""
SHORT_NAMES = {"n": ["-n"]}
FIRST = (
    *("n", "max_tokens", "temperature", "top_p", "top_k", "stop", "seed"),
    *("answer", "method", "weights", "tokenizer", "heads", "text_style"),
)
"""The options asked for most, which come first in their section."""
RARE = frozenset(
    (
        *("special", "filter_order", "overflow", "memory"),
        *("match", "aliases", "confidence", "budget"),
        *("config", "trim_vocabulary", "to", "ranks", "layout"),
    )
)
"""The options that are in the last section."""

heads_option = click.option(
    "--heads",
    cls=SectionOption,
    section=MODEL,
    type=click.IntRange(min=1),
    help=later("Number of attention heads, if not recorded."),
)
json_option = click.option(
    "--json",
    "as_json",
    cls=SectionOption,
    section=OUTPUT,
    is_flag=True,
    help=later("Print JSON."),
)
name_option = click.option(
    "--name",
    type=Text(),
    help=later("Name of the model, to be used as -m NAME."),
)
model_option = click.option(
    "--model",
    "-m",
    cls=SectionOption,
    section=MODEL,
    type=ModelPath(),
    help=later(
        "A model's name (see `cpm list`) or directory; default: the small model in the package."
    ),
)


def options_of(
    options: type, *names: str, section: str = OWN, sections: Mapping[str, str] = NONE
) -> Callable[[F], F]:
    """Return a decorator that adds fields as options of the same name, default and help.

    Args:
        options: a dataclass whose fields have a help text.
        names: the fields, by default all.
        section: the section of the help page; options in RARE are in the last one.
        sections: the section of single fields, where it is another.
    """
    fields = [f for f in dataclasses.fields(options) if not names or f.name in names]
    fields.sort(key=lambda field: (*FIRST, field.name).index(field.name))

    def add(command: F) -> F:
        for field in reversed(fields):
            command = click.option(
                *SHORT_NAMES.get(field.name, ["--" + field.name.replace("_", "-")]),
                field.name,
                cls=SectionOption,
                section=ADVANCED if field.name in RARE else sections.get(field.name, section),
                help=field.metadata["help"],
                **_kind(field),
            )(command)
        return command

    return add


def _kind(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return the arguments of `click.option` for a field, besides its name and help."""
    default = None if field.default is dataclasses.MISSING else field.default
    if isinstance(default, bool):
        return {"is_flag": True, "default": default}
    kind = KINDS.get(field.name, type(default))
    if field.name in CHOICES:
        kind = click.Choice(CHOICES[field.name])
    several = field.name in SEVERAL
    shown = default is not None and not several
    return {"type": kind, "multiple": several, "default": default, "show_default": shown}


def _with_deprecated_order(add: Callable[[F], F]) -> Callable[[F], F]:
    """Add the hidden option --order, until version 0.3 the old name of --filter-order."""
    old = click.option("--order", type=click.Choice(CHOICES["filter_order"]), hidden=True)
    return lambda command: add(old(command))


SAMPLED = {field.name: SAMPLING for field in dataclasses.fields(SamplingOptions)}

sampling_options = _with_deprecated_order(options_of(SamplingOptions, section=SAMPLING))
voting_options = _with_deprecated_order(options_of(VotingOptions, sections=SAMPLED))
special_option = options_of(SamplingOptions, "special")
engine_options = options_of(EngineOptions, "engine", "threads", section=MODEL)
convert_options = options_of(ConvertOptions)
text_style_option = options_of(ConvertOptions, "text_style")
overwrite_option = options_of(ConvertOptions, "overwrite")


def output_path(output: Path | None, name: str | None) -> Path | None:
    """Return where a model is written: to a directory, under a name in the home, or neither."""
    if output is not None and name is not None:
        raise click.UsageError(
            tr("give either --name or a directory, but not both: {output}", output=output)
        )
    if name is None:
        return output
    from cpm_lm.checkpoints.named import new_model

    return new_model(name)


def open_model(options: dict[str, Any]) -> Model:
    """Take what `model_options` added out of a verb's options, and load that model."""
    from cpm_lm.model import load

    path = options.pop("model")
    return load(path, engine=options.pop("engine"), threads=options.pop("threads"))


def model_options(command: F) -> F:
    """Add --model, --engine and --threads."""
    return model_option(engine_options(command))

"""Command-line options that several verbs share, made from the options classes of the library.

Knows click and the options classes, which own the defaults and help texts; does not know verbs.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cpm_lm.checkpoints.forms import FORMS
from cpm_lm.checkpoints.layouts.megatron_writer import LAYOUTS
from cpm_lm.checkpoints.options import ConvertOptions
from cpm_lm.cli.console import Text
from cpm_lm.engines.options import ENGINES, EngineOptions
from cpm_lm.errors import RequestError
from cpm_lm.generation.options import MATCHES, METHODS, SamplingOptions, VotingOptions
from cpm_lm.tokenizer.text_style import STYLES

__all__ = [
    "convert_options",
    "engine_options",
    "heads_option",
    "json_option",
    "model_options",
    "open_model",
    "options_of",
    "overwrite_option",
    "preset_lines",
    "preset_option",
    "sampling_options",
    "special_option",
    "text_style_option",
    "voting_options",
]

if TYPE_CHECKING:
    from cpm_lm.model import Model

F = TypeVar("F", bound=Callable[..., Any])

CHOICES: dict[str, Sequence[str]] = {
    "filter_order": ("standard", "cpm"),
    "overflow": ("stop", "slide"),
    "match": MATCHES,
    "method": METHODS,
    "engine": ("auto", *ENGINES),
    "to": tuple(FORMS),
    "weights": FORMS["store"].formats,
    "layout": LAYOUTS,
    "text_style": tuple(STYLES),
}
KINDS: dict[str, Any] = {
    "stop": Text(),
    "ban": Text(),
    "bias": Text(),
    "choices": Text(),
    "seed": int,
    "answer": Text(),
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

heads_option = click.option(
    "--heads",
    type=click.IntRange(min=1),
    help="注意力头数，文件中没有记录时需要。Number of attention heads, if not recorded.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="输出 JSON。Print JSON.")


def options_of(options: type, *names: str) -> Callable[[F], F]:
    """Return a decorator that adds fields as options of the same name, default and help.

    Args:
        options: a dataclass whose fields have a help text.
        names: the fields, by default all.
    """
    fields = [f for f in dataclasses.fields(options) if not names or f.name in names]

    def add(command: F) -> F:
        for field in reversed(fields):
            command = click.option(
                *SHORT_NAMES.get(field.name, ["--" + field.name.replace("_", "-")]),
                field.name,
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


def preset_lines(names: Iterable[str]) -> list[str]:
    """Return one line for each preset: its name, and its options as they would be typed."""
    from cpm_lm.generation.presets import preset

    return [
        f"{name}: " + " ".join(_typed(key, value) for key, value in preset(name).items())
        for name in names
    ]


def _typed(name: str, value: Any) -> str:
    """Return an option as it would be typed."""
    flag = SHORT_NAMES.get(name, ["--" + name.replace("_", "-")])[0]
    if isinstance(value, bool):
        return flag
    values = value if isinstance(value, list | tuple) else [value]
    return " ".join(f"{flag} {json.dumps(v, ensure_ascii=False)}" for v in values)


def _use_preset(ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    """Make a preset's options the defaults of this command; what is typed still counts more."""
    from cpm_lm.generation.presets import LIST, preset, presets

    if name is None or ctx.resilient_parsing:
        return
    if name == LIST:
        for line in preset_lines(presets()):
            click.echo(line)
        ctx.exit()
    options = preset(name)
    known = {parameter.name for parameter in ctx.command.params}
    if unknown := sorted(options.keys() - known):
        raise RequestError(
            f"preset {name!r} sets {unknown[0]}, which cpm {ctx.command.name} does not have; "
            "use it with the other command, or leave it out"
        )
    ctx.default_map = {**(ctx.default_map or {}), **options}


preset_option = click.option(
    "--preset",
    type=Text(),
    is_eager=True,
    expose_value=False,
    callback=_use_preset,
    help="使用命名的一组选项：poem、qa、story 或自己保存的；list 列出全部。另外给出的选项优先。"
    "Use a named set of options: poem, qa, story or one of your own; 'list' lists all. Options "
    "given beside it count more.",
)

sampling_options = _with_deprecated_order(options_of(SamplingOptions))
voting_options = _with_deprecated_order(options_of(VotingOptions))
special_option = options_of(SamplingOptions, "special")
engine_options = options_of(EngineOptions, "engine", "threads")
convert_options = options_of(ConvertOptions)
text_style_option = options_of(ConvertOptions, "text_style")
overwrite_option = options_of(ConvertOptions, "overwrite")


def open_model(options: dict[str, Any]) -> Model:
    """Take what `model_options` added out of a verb's options, and load that model."""
    from cpm_lm.model import load

    path = options.pop("model")
    return load(path, engine=options.pop("engine"), threads=options.pop("threads"))


def model_options(command: F) -> F:
    """Add --model, --engine and --threads."""
    return click.option(
        "--model",
        "-m",
        type=click.Path(path_type=Path),
        help="cpm convert 生成的目录；默认用自带的小模型。"
        "Directory made by `cpm convert`; default: the small model in the package.",
    )(engine_options(command))

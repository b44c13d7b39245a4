"""Presets: named sets of options, those in the package and a user's own.

Knows options and the user's directory; does not know models.

A user's preset is the file `presets/NAME.json` in the home directory (see `cpm_lm.home`): a JSON
object of option names and values, as `SamplingOptions` and `VotingOptions` take them.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cpm_lm.errors import ConfigError, RequestError
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.home import check_name, home_directory
from cpm_lm.storage.directory import Directory
from cpm_lm.storage.files import replace_file

__all__ = ["BUILT_IN", "check_options", "preset", "presets", "remove_preset", "save_preset"]

BUILT_IN: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # A poem repeats words on purpose, but not its lines.
        "poem": {"temperature": 1.0, "top_p": 0.9, "no_repeat_ngram": 5, "max_tokens": 64},
        # A short answer, on one line; a low temperature, because few answers are right.
        "qa": {"temperature": 0.3, "top_p": 0.9, "stop": ["\n"], "max_tokens": 32},
        # Long texts are where loops begin.
        "story": {
            "temperature": 0.9,
            "top_p": 0.95,
            "repetition_penalty": 1.1,
            "no_repeat_ngram": 8,
            "max_tokens": 300,
        },
    }
)
"""The presets in the package."""

FOLDER = "presets"
LIST = "list"
"""Not a name: `--preset list` lists them."""


def preset(name: str) -> dict[str, Any]:
    """Return the options of a preset, as keyword arguments of `Model.sample` and `Model.vote`.

    >>> preset("qa")["max_tokens"]
    32

    Args:
        name: poem, qa, story, or the name under which `cpm preset save` stored one.

    Raises:
        RequestError: there is no such preset; the nearest names are listed.
        ConfigError: its file cannot be read, or holds something other than options.
    """
    if name in BUILT_IN:
        return {**BUILT_IN[name]}
    known = presets()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or BUILT_IN
        raise RequestError(
            "unknown preset {name!r}; nearest: {near}; `cpm preset list` shows all",
            name=name,
            near=", ".join(near),
        )
    return _read(_path(name))


def presets() -> tuple[str, ...]:
    """Return the names of all presets: those in the package, then the user's, sorted."""
    found = home_directory().joinpath(FOLDER).glob("*.json")
    return (*BUILT_IN, *sorted(path.stem for path in found if path.stem not in BUILT_IN))


def save_preset(name: str, options: Mapping[str, Any], *, overwrite: bool = False) -> Path:
    """Store options under a name, and return the file.

    Raises:
        RequestError: the name is taken, or there is no option to store, or a value is wrong.
        ConfigError: the name cannot be the name of a file.
    """
    check_name(name)
    if name in BUILT_IN or name == LIST:
        raise RequestError("the preset name {name!r} is reserved; choose another one", name=name)
    if not options:
        raise RequestError(
            "preset {name!r} has no option to store; give at least one, such as --temperature 0.8",
            name=name,
        )
    check_options(options)
    path = _path(name)
    if path.exists() and not overwrite:
        raise RequestError(
            "preset {name!r} exists ({path}); replace it by --overwrite", name=name, path=path
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(options), ensure_ascii=False, indent=2) + "\n"
    with Directory.open(path.parent) as directory:  # an interruption leaves the old one
        replace_file(directory, path.name, lambda file: file.write(text.encode()))
    return path


def remove_preset(name: str) -> Path:
    """Remove a user's preset, and return the file that is gone.

    Raises:
        RequestError: there is no such preset, or it is one of the package.
    """
    if name in BUILT_IN:
        raise RequestError(
            "preset {name!r} is part of the package, and cannot be removed", name=name
        )
    preset(name)
    path = _path(name)
    path.unlink()
    return path


def check_options(options: Mapping[str, Any]) -> None:
    """Check that options can be given to `sample` or to `vote`.

    Raises:
        RequestError: one is unknown or out of range, or they do not go together.
    """
    for kind in (SamplingOptions, VotingOptions):
        if options.keys() <= _fields(kind):
            kind(**options)
            return
    either = _fields(SamplingOptions) | _fields(VotingOptions)
    if unknown := sorted(options.keys() - either):
        raise RequestError(
            "unknown option {unknown!r} in a preset; see `cpm sample --help`", unknown=unknown[0]
        )
    for_votes = min(options.keys() - _fields(SamplingOptions))
    for_samples = min(options.keys() - _fields(VotingOptions))
    raise RequestError(
        "a preset sets {for_samples}, which is for samples, and {for_votes}, "
        "which is for votes; make two of it",
        for_samples=for_samples,
        for_votes=for_votes,
    )


def _fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _path(name: str) -> Path:
    return home_directory() / FOLDER / f"{name}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        options = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            "preset {path} cannot be read as JSON: {error}", path=path, error=error
        ) from None
    if not isinstance(options, dict):
        raise ConfigError(
            "preset {path} holds {name}; expected a JSON object",
            path=path,
            name=type(options).__name__,
        )
    try:
        check_options(options)
    except (RequestError, TypeError) as error:
        raise ConfigError(
            "preset {path}: {error}", path=path, error=" ".join(str(error).split())
        ) from None
    return options

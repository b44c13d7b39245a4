"""Types of values on the command line: models, sizes in bytes.

Knows how values are written; does not know what they are used for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.errors import CpmError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["ByteSize", "InstalledName", "ModelPath", "size_text"]

DECIMAL = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
BINARY = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
SIZE = re.compile(r"(\d+|\d+\.\d+)\s*([KMGT]?I?B?)", re.ASCII | re.IGNORECASE)


class ByteSize(click.ParamType[int]):
    """A number of bytes: `4GB`, `512MB`, `1.5GiB` or `4000000000`; KB is 1000 bytes, KiB 1024."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the number of bytes."""
        if isinstance(value, int):
            return value
        found = SIZE.fullmatch(str(value).strip())
        unit = found[2].upper() if found else "?"
        unit = unit.removesuffix("B") and unit.removesuffix("B") + "B"
        factor = {**DECIMAL, **BINARY}.get(unit)
        if found is None or factor is None:
            self.fail(
                f"{value!r} is not a size; expected for example 4GB, 512MB, 4GiB or 4000000000",
                param,
                ctx,
            )
        whole, _, fraction = found[1].partition(".")  # as integers: a float loses bytes
        return (int(whole + fraction) * factor) // 10 ** len(fraction)


def size_text(count: int) -> str:
    """Return a number of bytes as `ByteSize` reads it, without loss: 4294967296 is 4GiB.

    >>> [size_text(count) for count in (4 << 30, 2_000_000, 1536)]
    ['4GiB', '2MB', '1536']
    """
    names = {"KIB": "KiB", "MIB": "MiB", "GIB": "GiB", "TIB": "TiB"}
    units = sorted({**DECIMAL, **BINARY}.items(), key=lambda unit: -unit[1])
    unit, size = next(
        ((unit, size) for unit, size in units if size > 1 and count and count % size == 0), ("", 1)
    )
    return f"{count // size}{names.get(unit, unit)}"


class ModelPath(click.ParamType[Path]):
    """A model by name or path; the path is returned.

    Args:
        files: whether a path may be that of a file.
    """

    name = "model"

    def __init__(self, *, files: bool = False) -> None:
        self.files = files

    def convert(self, value: Any, param: Any, ctx: Any) -> Path:
        """Return the path.

        Raises:
            CheckpointError: there is no such model.
        """
        from cpm_lm.checkpoints.named import model_path

        return model_path(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Return the names of models; where none fits, the shell lists paths."""
        from click.shell_completion import CompletionItem

        # In bash, this entry empties the list, so it comes first.
        paths = CompletionItem(incomplete, type="file" if self.files else "dir")
        return [paths, *_names(incomplete)]


class InstalledName(click.ParamType[str]):
    """The name of a model, not a path."""

    name = "name"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the name."""
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Return the names of models."""
        return _names(incomplete)


def _names(incomplete: str) -> list[CompletionItem[str]]:
    """Return the names of models that begin so; a shell would cut one with a blank."""
    from click.shell_completion import CompletionItem

    from cpm_lm.checkpoints.named import model_names

    try:
        names = model_names()
    except (CpmError, OSError):  # no error while a line is typed
        return []
    return [
        CompletionItem(name)
        for name in names
        if name.startswith(incomplete) and name.isprintable() and " " not in name
    ]

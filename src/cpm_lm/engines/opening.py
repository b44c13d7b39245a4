"""Start an engine on any readable checkpoint: a store directly, others via a temporary store.

Knows the converter and the engines; does not know what the engine is used for.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.quantization.formats import stored_bytes
from cpm_lm.checkpoints.source import Source
from cpm_lm.choices import WeightFormat
from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine
from cpm_lm.engines.options import EngineOptions
from cpm_lm.engines.select import start_engine
from cpm_lm.errors import CapacityError
from cpm_lm.storage.temporary import temporary_directory

__all__ = ["own_weights", "start_checkpoint"]


def own_weights(source: Source) -> WeightFormat:
    """Return the number format that changes no weight of a checkpoint: f32 to q4."""
    return cast("WeightFormat", source.formats[0]) if len(source.formats) == 1 else "f32"


@contextmanager
def start_checkpoint(
    source: Source,
    options: EngineOptions,
    *,
    heads: int | None = None,
    config: GPTConfig | None = None,
) -> Iterator[Engine]:
    """Start an engine with a checkpoint's weights, for the duration of a `with` statement.

    A checkpoint that is not a store is converted, in its own number format, to a temporary store
    that is deleted afterwards, also after SIGTERM or SIGHUP; one that a killed process left is
    deleted by the next call. The environment variable TMPDIR chooses its disk.

    Args:
        source: the checkpoint, opened.
        options: the engine and its threads.
        heads: the number of attention heads, if the checkpoint does not record it; else unused.
        config: the whole shape, if the checkpoint does not record it; else unused.

    Raises:
        CheckpointError: the checkpoint is damaged.
        CapacityError: the disk of the temporary directory is too small.
        ConfigError: the number of heads is not known.
        EngineError: the engine is unknown, not installed, or cannot run in this process.
    """
    if source.store is not None:
        yield start_engine(source.store, options)
        return
    no_config = source.config is None
    with temporary_directory("cpm-verify-") as scratch:
        _check_space(scratch, source)
        store = scratch / "store"
        convert(
            source,
            store,
            weights=own_weights(source),
            text_style=source.text_style,  # known or assumed: an engine uses ids only
            config=config if no_config else None,
            heads=heads if no_config else None,
        )
        yield start_engine(Store.open(store), options)


def _check_space(scratch: Path, source: Source) -> None:
    needed = stored_bytes(source.dims, own_weights(source))
    if (free := shutil.disk_usage(scratch).free) < needed:
        raise CapacityError(
            "running {directory} needs it converted to a temporary store, {needed:,} "
            "bytes; the disk of {parent} has {free:,} free: make room, set TMPDIR to "
            "a directory on a larger disk, or convert it yourself and verify the "
            "result",
            directory=source.directory,
            needed=needed,
            parent=scratch.parent,
            free=free,
        )

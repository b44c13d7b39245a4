"""Any readable checkpoint in an engine: a store as it is, anything else converted for the while.

Knows the converter and the engines; does not know what is measured.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.quantization.formats import stored_bytes
from cpm_lm.checkpoints.source import Source
from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CapacityError

__all__ = ["How", "own_weights", "running"]


@dataclass(frozen=True, kw_only=True)
class How:
    """What computes, and what the files do not say."""

    engine: str = "auto"
    threads: int | None = None
    heads: int | None = None
    """Of checkpoints that do not say; others say it themselves."""
    config: GPTConfig | None = None
    """The whole shape, of checkpoints that do not say."""


def own_weights(source: Source) -> str:
    """Return the number format that keeps a checkpoint's weights as they are: f32 to q4."""
    return source.formats[0] if len(source.formats) == 1 else "f32"


@contextmanager
def running(path: Path, source: Source, how: How) -> Iterator[Engine]:
    """Give an engine with a checkpoint's weights.

    What is not a store is converted, in its own number format, into a temporary directory that
    is deleted afterwards; the environment variable TMPDIR says on which disk.

    Raises:
        CheckpointError: the checkpoint is damaged.
        CapacityError: the disk of the temporary directory is too small.
        ConfigError: the number of heads is not known.
        EngineError: the engine is unknown, not installed, or cannot run in this process.
    """
    if source.layout == "store":
        yield open_engine(source.directory, engine=how.engine, threads=how.threads)
        return
    unsaid = source.config is None
    with tempfile.TemporaryDirectory(prefix="cpm-verify-", ignore_cleanup_errors=True) as scratch:
        _check_space(Path(scratch), source)
        store = Path(scratch) / "store"
        convert(
            path,
            store,
            weights=own_weights(source),
            config=how.config if unsaid else None,
            heads=how.heads if unsaid else None,
        )
        yield open_engine(store, engine=how.engine, threads=how.threads)


def _check_space(scratch: Path, source: Source) -> None:
    needed = stored_bytes(source.dims, own_weights(source))
    if (free := shutil.disk_usage(scratch).free) < needed:
        raise CapacityError(
            f"running {source.directory} needs it converted for the while, {needed:,} bytes; the "
            f"disk of {scratch.parent} has {free:,} free: make room, set TMPDIR to a directory on "
            "a larger disk, or convert it yourself and verify the result"
        )

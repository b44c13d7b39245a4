"""Open the files of a checkpoint: regular files only, so that no name can make a reader wait.

Knows mapping into memory; does not know formats. The functions of `cpm_lm.files`, with the error of
this room.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from typing import BinaryIO

from cpm_lm import files
from cpm_lm.checkpoints.containers.mapped_file import watch
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr

__all__ = ["map_file", "open_regular", "read_limited"]


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, or a link to one, for reading.

    Raises:
        CheckpointError: it is missing, not readable, or of another kind (a directory, a named pipe,
            a device, a socket), at once.
    """
    return files.open_regular(path, CheckpointError)


def map_file(path: Path) -> mmap.mmap:
    """Map a regular file into memory, for reading.

    Raises:
        CheckpointError: as `open_regular`, or the file is empty.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise CheckpointError("{path} is empty; download it again", path=path)
        try:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else tr("its size changed")
            raise CheckpointError(
                "{path} cannot be mapped into memory: {reason}", path=path, reason=reason
            ) from None
        watch(mapped, file, path)
    return mapped


def read_limited(path: Path, limit: int) -> bytes:
    """Return the content of a regular file that is small by its nature.

    Args:
        path: the file.
        limit: the largest size in bytes.

    Raises:
        CheckpointError: as `open_regular`, or the file is larger than `limit`.
    """
    return files.read_limited(path, limit, CheckpointError)

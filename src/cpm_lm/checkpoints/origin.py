"""The records of the files that a conversion read, and where their weights were published.

Knows digests; does not know what is in the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.known.heads import LARGE_WIDTH
from cpm_lm.checkpoints.known.releases import known_release
from cpm_lm.checkpoints.manifest import FileRecord, digest
from cpm_lm.checkpoints.source import Source

__all__ = ["read_records"]


def read_records(
    source: Source, on_bytes: Callable[[int], None]
) -> tuple[tuple[FileRecord, ...], str | None]:
    """Compute the digests of a checkpoint's files.

    Publishers state SHA-1 and MD5. They are computed only for a model of CPM-LM's width, since they
    take longer than the SHA-256 that every manifest has.

    Args:
        source: the checkpoint.
        on_bytes: called with the size of each chunk that is read.

    Returns:
        records: a record for each file.
        origin: the recorded origin, else the release with these digests; None if not known.
    """
    compared = source.origin is None and source.dims.n_embd == LARGE_WIDTH
    records: list[FileRecord] = []
    found: list[tuple[str, str]] = []
    for file in source.files:
        stated = (hashlib.sha1(usedforsecurity=False), hashlib.md5(usedforsecurity=False))
        name = file.relative_to(source.directory).as_posix()
        records.append(digest(file, name, on_bytes, stated if compared else ()))
        if file.name != CONFIG:
            found.append((stated[0].hexdigest(), stated[1].hexdigest()))
    release = known_release(found)[0] if compared else None
    return tuple(records), source.origin or release

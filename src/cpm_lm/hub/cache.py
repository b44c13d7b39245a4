"""The cache of Hugging Face's library: blobs under their digests, and links to them by commit.

Knows its directories: `models--owner--name` with `blobs/` and `snapshots/COMMIT/`; does not know
where files come from. No name in it comes from a server unless it is a digest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpm_lm.errors import CheckpointError
from cpm_lm.hub.listing import RemoteFile
from cpm_lm.hub.transfer import partial_name
from cpm_lm.storage.directory import Directory

__all__ = ["ModelCache"]

BLOBS, SNAPSHOTS = "blobs", "snapshots"
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""The errors of a file system without links; and of Windows, for users who may not make them."""
if os.name == "nt":
    NO_LINKS |= {errno.EINVAL, errno.EACCES}


class ModelCache:
    """The part of the cache for one commit of one model."""

    def __init__(self, cache: Path, name: str, commit: str) -> None:
        self.folder = cache / f"models--{name.replace('/', '--')}"
        self.commit = commit
        self.directory = self.folder / SNAPSHOTS / commit

    def has(self, file: RemoteFile) -> bool:
        """Return whether a file is there under its own name."""
        return (self.directory / file.name).exists()

    def has_blob(self, file: RemoteFile) -> bool:
        """Return whether a file's content is there, for another commit or not linked yet."""
        return file.digest is not None and (self.folder / BLOBS / file.digest).exists()

    def missing_bytes(self, file: RemoteFile) -> int:
        """Return how many bytes of a file are still to be fetched."""
        if self.has_blob(file):
            return 0
        size, have = file.size or 0, 0
        with contextlib.suppress(OSError):
            part = self.folder / BLOBS / partial_name(self.commit, file)
            status = part.lstat()
            have = status.st_size if stat.S_ISREG(status.st_mode) else 0
        return size - min(size, have)

    @contextmanager
    def blobs(self) -> Iterator[Directory]:
        """Open the directory of blobs; make it if there is none.

        Raises:
            CheckpointError: it is a link.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with Directory.open(self.folder) as folder, _opened(folder, BLOBS) as found:
            yield found

    def link(self, file: RemoteFile, digest: str) -> None:
        """Give a blob the file's own name in the snapshot.

        Raises:
            CheckpointError: a directory is a link, or the name is taken by something else.
            OSError: the disk is full or not writable.
        """
        with (
            Directory.open(self.folder) as folder,
            _opened(folder, SNAPSHOTS) as snapshots,
            _opened(snapshots, self.commit) as snapshot,
        ):
            there = snapshot.status(file.name)
            if there is not None and stat.S_ISLNK(there.st_mode):
                snapshot.unlink(file.name)  # its blob was removed from the cache
            try:
                snapshot.symlink(f"../../{BLOBS}/{digest}", file.name)
            except FileExistsError:
                if not self.has(file):  # else another process was faster
                    raise
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                with _opened(folder, BLOBS) as blobs:  # no links here, as on most Windows machines
                    blobs.rename(digest, snapshot, file.name)


@contextmanager
def _opened(parent: Directory, name: str) -> Iterator[Directory]:
    """Open a directory of the cache, made if there is none; a link is not followed."""
    parent.mkdir(name, 0o777)
    try:
        found = parent.child(name)
    except OSError as error:
        raise CheckpointError(
            "{parent_path} is not a directory of the cache ({strerror}): remove it, "
            "or set HF_HOME to another directory",
            parent_path=parent.path / name,
            strerror=error.strerror,
        ) from None
    with found:
        yield found

"""The list of a model's files, as a server gives it: checked before any of it names anything.

Knows the hub's JSON; does not know which files are needed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr

__all__ = ["LISTING_BYTES", "Listing", "RemoteFile", "parse_listing"]

LISTING_BYTES = 8 << 20
"""The longest listing; a model of 10,000 files has 3 MB."""
FILES = 20_000
"""The most files of a model."""
NAME_BYTES = 255
"""The longest name of a file or a directory."""
PATH_BYTES = 1024
UNSIZED_BYTES = 16 << 20
"""The most bytes of a file whose size is not listed; the hub keeps at most 10 MB as such."""
LARGEST = 1 << 50
"""A size above this is not one."""


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub."""

    name: str
    size: int | None
    """In bytes; None if it is not listed."""
    sha256: str | None
    """The digest of a large file (LFS); None for small files."""
    git: str | None = None
    """Git's digest of a small file, if it is listed."""

    @property
    def digest(self) -> str | None:
        """The name in the cache, if it is known before the file is there."""
        return self.sha256 or self.git

    @property
    def limit(self) -> int:
        """The most bytes to accept."""
        return UNSIZED_BYTES if self.size is None else self.size


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a server says of a model."""

    commit: str
    """40 hexadecimal digits."""
    files: tuple[RemoteFile, ...]


def parse_listing(text: bytes) -> Listing:
    """Return the commit and the files of a model.

    Raises:
        ValueError: it is not the hub's form of a listing.
        CheckpointError: it has too many files, or the name of one is not that of a file.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(tr("the listing is not an object"))
    entries = values.get("siblings") or []
    commit = _checked_digest(values.get("sha"), 40)
    if not isinstance(entries, list):
        raise ValueError(tr("the listing has no list of files"))
    if len(entries) > FILES:
        raise CheckpointError(
            "the model has {n_entries:,} files; at most {files:,} are read: check HF_ENDPOINT",
            n_entries=len(entries),
            files=FILES,
        )
    files = tuple(_file(entry) for entry in entries)
    names = [file.name for file in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(
            "the listing names the file {twice} twice; check HF_ENDPOINT", twice=one_line(twice, 80)
        )
    return Listing(commit=commit, files=files)


def _file(entry: Any) -> RemoteFile:
    if not isinstance(entry, dict):
        raise ValueError(tr("an entry of the listing is not an object"))
    name = _checked_name(entry.get("rfilename"))
    large = entry.get("lfs")
    if large is not None and not isinstance(large, dict):
        raise ValueError(tr("an entry of the listing is damaged"))
    if not large:
        git = entry.get("blobId")
        known = isinstance(git, str) and re.fullmatch("[0-9a-f]{40}", git)
        return RemoteFile(name, _checked_size(entry.get("size")), None, git if known else None)
    size = _checked_size(large.get("size", entry.get("size")))
    return RemoteFile(name, size, _checked_digest(large.get("sha256"), 64))


def _checked_name(name: Any) -> str:
    """Return a file's name: relative, with `/`, without what a path could be made of.

    Raises:
        CheckpointError: it is not such a name.
    """
    if not isinstance(name, str):
        raise ValueError(tr("a file of the listing has no name"))
    parts = name.split("/")
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in parts]
    wrong = (
        any(part in ("", ".", "..") for part in parts)
        or re.search("[\0-\x1f\x7f-\x9f\\\\\ud800-\udfff]", name)
        or re.match("[A-Za-z]:", name)
        or max(sizes) > NAME_BYTES
        or sum(sizes) > PATH_BYTES
    )
    if wrong:
        raise CheckpointError(
            "the listing has a file named {name}, which cannot be a file's name; check HF_ENDPOINT",
            name=one_line(name, 80),
        )
    return name


def _checked_size(size: Any) -> int | None:
    if size is None:
        return None
    if type(size) is not int or not 0 <= size <= LARGEST:
        raise ValueError(tr("{size} is not a size", size=one_line(size, 40)))
    return size


def _checked_digest(digest: Any, digits: int) -> str:
    """Return a hexadecimal digest after checking it, because it becomes part of a path."""
    if not isinstance(digest, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
        raise ValueError(tr("{digest} is not a digest", digest=one_line(digest, 80)))
    return digest

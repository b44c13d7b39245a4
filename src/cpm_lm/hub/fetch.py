"""Fetch a model from the Hugging Face hub, or a mirror, into the hub's cache.

Knows names of models and the order of the steps; does not know what is in the files. Files are
fetched here instead of by the hub's client, for two reasons. The client makes a path of what the
server says (its ETag), so that a server could write anywhere. And since version 2 it deletes a
partial file when it is interrupted; here it stays in the cache and the next call resumes it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from cpm_lm.checkpoints.known.published import PUBLISHED, published_model
from cpm_lm.display import fields_on_a_line
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.hub.cache import ModelCache
from cpm_lm.hub.choose import choose_files, is_weights
from cpm_lm.hub.client import Hub, hub_client, hub_errors
from cpm_lm.hub.listing import RemoteFile
from cpm_lm.hub.transfer import fetch_blob, partial_name
from cpm_lm.progress import Progress, ProgressCounter

__all__ = ["KNOWN", "Fetched", "fetch", "full_name"]

KNOWN = tuple(published.name for published in PUBLISHED)
"""Models of this family on the hub. A user may omit the owner; upper and lower case are equal."""

NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A model in the cache."""

    name: str
    """`owner/name`."""
    commit: str
    """The commit that the hub had for the requested revision."""
    directory: Path
    """The directory of the files, under their own names."""
    bytes: int
    """The total size of the files."""

    __repr__ = fields_on_a_line


def full_name(name: str) -> str:
    """Return a model's name on the hub, `owner/name`.

    >>> full_name("cpm-generate")
    'TsinghuaAI/CPM-Generate'

    Raises:
        ConfigError: it is neither `owner/name` nor the name of a known model.
    """
    if published := published_model(name):
        return published.name
    if not NAME.fullmatch(name) or ".." in name:
        shorts = [published.short.casefold() for published in PUBLISHED]
        if near := get_close_matches(name.casefold(), shorts, n=1):
            raise ConfigError(
                "unknown model {name!r}; did you mean {near}? Known are {known}, or any other "
                "owner/name",
                name=name,
                near=full_name(near[0]),
                known=", ".join(KNOWN),
            )
        raise ConfigError(
            "unknown model {name!r}; expected {known}, or another owner/name",
            name=name,
            known=", ".join(KNOWN),
        )
    return name


def fetch(
    name: str,
    *,
    revision: str = "main",
    cache: Path | None = None,
    reserve: Callable[[int], tuple[Path, int]] | None = None,
    progress: Progress | None = None,
) -> Fetched:
    """Fetch only the files of a model that are needed.

    Environment: HF_ENDPOINT is the URL of a mirror, HF_HOME or HF_HUB_CACHE is the directory of
    the cache, HF_TOKEN is the access token. No telemetry is sent.

    Args:
        name: `owner/name`.
        revision: a branch, a tag or a commit.
        cache: the cache directory; default: the client's.
        reserve: takes the size of the weights; returns a directory and the number of bytes that
            will be needed there later, so that a full disk is detected before the download.
        progress: called with the bytes done and the total.

    Raises:
        CheckpointError: the hub cannot be reached; the model does not exist, is private or gated;
            it has no readable weights; the disk is too small; a file arrived damaged or longer
            than announced, stalls, or is being fetched by another process; a name in the cache is
            taken by a link.
        EngineError: huggingface_hub is not installed.
    """
    with hub_client() as hub, hub_errors(name, hub.endpoint):
        listing = hub.listing(name, revision)
        files = choose_files(name, listing.files)
        model = ModelCache(cache or hub.cache, name, listing.commit)
        count = ProgressCounter(sum(file.size or 0 for file in files), progress)
        pending = [file for file in files if not model.has(file)]
        missing = sum(model.missing_bytes(file) for file in pending)
        weights = sum(file.size or 0 for file in files if is_weights(file.name))
        _check_space(model.folder, missing, reserve(weights) if reserve else None)
        count.add(sum(file.size or 0 for file in files if file not in pending))
        for file in pending:
            _fetch_one(hub, name, model, file, count.add)
    return Fetched(name=name, commit=model.commit, directory=model.directory, bytes=count.done)


def _fetch_one(
    hub: Hub, name: str, model: ModelCache, file: RemoteFile, on_bytes: Callable[[int], None]
) -> None:
    """Fetch a file, unless its content is in the cache, and give it its name."""
    if model.has_blob(file):
        assert file.digest is not None
        on_bytes(file.size or 0)
        model.link(file, file.digest)
        return
    part = partial_name(model.commit, file)
    with model.blobs() as blobs:
        transfer = hub.transfer(name, file, model.commit)
        digest = fetch_blob(blobs, part, file, transfer, on_bytes)
    model.link(file, digest)


def _check_space(folder: Path, missing: int, reserved: tuple[Path, int] | None) -> None:
    """Check the free space; needs on the same disk are added up."""
    needs = [(folder, missing), *([reserved] if reserved else [])]
    disks: dict[int, tuple[Path, int]] = {}
    for path, size in needs:
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
        device = parent.stat().st_dev
        disks[device] = (parent, size + disks.get(device, (parent, 0))[1])
    for parent, size in disks.values():
        if (free := shutil.disk_usage(parent).free) < size:
            raise CheckpointError(
                "the disk of {parent} has {free:,} bytes free, {size:,} are needed: free "
                "some space, or set HF_HOME to a directory on a larger disk",
                parent=parent,
                free=free,
                size=size,
            )

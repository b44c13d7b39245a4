"""Fetch a model from the Hugging Face hub, or a mirror, into the hub's cache.

Knows names of models and files, and the hub's client; does not know what is in the files. Large
files are fetched here instead of by the client, because since version 2 the client deletes a
partial file when it is interrupted. Here the partial file stays in the cache and the next call
resumes it.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.known.published import PUBLISHED, published_model
from cpm_lm.checkpoints.text import one_line
from cpm_lm.display import fields_on_a_line
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.hub.client import Hub, hub_client, hub_errors
from cpm_lm.hub.transfer import fetch_blob, partial_path
from cpm_lm.languages import tr
from cpm_lm.progress import Progress, ProgressCounter

__all__ = ["KNOWN", "Fetched", "fetch", "full_name"]

KNOWN = tuple(published.name for published in PUBLISHED)
"""Models of this family on the hub. A user may omit the owner; upper and lower case are equal."""

NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
SHARD = r"(-\d{5}-of-\d{5})"
WEIGHTS = (
    r"model\.safetensors",
    rf"model({SHARD}\.safetensors|\.safetensors\.index\.json)",
    r"pytorch_model\.bin",
    rf"pytorch_model({SHARD}\.bin|\.bin\.index\.json)",
    r"tf_model\.h5",
)
"""File formats of the weights in order of preference; of a sharded format all files are needed."""
CONFIG = "config.json"
TOKENIZER_FILES = frozenset(
    "chinese_vocab.model spiece.model vocab.json vocab.txt tokenizer.json tokenizer_config.json "
    "special_tokens_map.json added_tokens.json text_style.json".split()
)
"""The files that a tokenizer may have."""


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


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    sha256: str | None
    """The digest of a large file (LFS); None for small files."""


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
            it has no readable weights; the disk is too small; a file arrived damaged, or is being
            fetched by another process.
        EngineError: huggingface_hub is not installed.
    """
    with hub_client() as hub, hub_errors(name, hub.endpoint):
        about = hub.api.model_info(name, revision=revision, files_metadata=True)
        commit = _checked_digest(about.sha, 40)
        files = choose_files(name, (_remote_file(sibling) for sibling in about.siblings or ()))
        folder = (cache or hub.cache) / f"models--{name.replace('/', '--')}"
        count = ProgressCounter(sum(file.size for file in files), progress)
        pending = [file for file in files if not (folder / _snapshot_path(commit, file)).exists()]
        missing = sum(_missing_bytes(folder, file) for file in pending)
        weights = sum(file.size for file in files if _weight_format(file.name) is not None)
        _check_space(folder, missing, reserve(weights) if reserve else None)
        count.add(sum(file.size for file in files if file not in pending))
        for file in pending:
            if file.sha256:
                _fetch_large(hub, name, commit, file, folder, count.add)
            hub.link(name, file.name, commit, folder.parent)
            count.add(0 if file.sha256 else file.size)
    directory = folder / "snapshots" / commit
    return Fetched(name=name, commit=commit, directory=directory, bytes=count.done)


def choose_files(name: str, files: Iterable[_File]) -> list[_File]:
    """Return the files to fetch: one format of the weights, the configuration, the tokenizer.

    Raises:
        CheckpointError: there is no configuration, or no format of the weights is complete.
    """
    available = {file.name: file for file in files}
    form = next((form for form in range(len(WEIGHTS)) if _is_complete(form, available)), None)
    if form is None or CONFIG not in available:
        lack = CONFIG if form is not None else tr("weights in a supported format")
        seen = ", ".join(one_line(name, 60) for name in sorted(available)[:12]) or "nothing"
        raise CheckpointError(
            "{name} has no {lack}: expected model.safetensors, pytorch_model.bin or "
            "tf_model.h5, and config.json; found {seen}",
            name=name,
            lack=lack,
            seen=seen,
        )
    tokenizer = TOKENIZER_FILES & available.keys()
    weights = {n for n in available if _weight_format(n) == form}
    wanted = {CONFIG} | tokenizer | weights
    return [available[n] for n in sorted(wanted)]


def _weight_format(name: str) -> int | None:
    matches = (i for i, pattern in enumerate(WEIGHTS) if re.fullmatch(pattern, name))
    return next(matches, None)


def _is_complete(form: int, available: dict[str, _File]) -> bool:
    names = [name for name in available if _weight_format(name) == form]
    shards = [name for name in names if re.search(SHARD, name)]
    if not shards:
        return bool(names) and not any(name.endswith(".index.json") for name in names)
    return len(names) == len(shards) + 1 and len(shards) == int(shards[0].split("-of-")[1][:5])


def _remote_file(sibling: Any) -> _File:
    if sibling.lfs is None:
        return _File(sibling.rfilename, sibling.size or 0, None)
    return _File(sibling.rfilename, sibling.lfs.size, _checked_digest(sibling.lfs.sha256, 64))


def _checked_digest(digest: Any, digits: int) -> str:
    """Return a hexadecimal digest after checking it, because it becomes part of a path."""
    if not isinstance(digest, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
        raise ValueError(tr("{digest!a} is not a digest", digest=digest))
    return digest


def _snapshot_path(commit: str, file: _File) -> Path:
    return Path("snapshots", commit, file.name)


def _missing_bytes(folder: Path, file: _File) -> int:
    """Return how many bytes of a file are still to be fetched."""
    blob = folder / "blobs" / (file.sha256 or "?")
    if file.sha256 is None:
        return file.size
    if blob.exists():
        return 0
    part = partial_path(blob)
    return file.size - min(file.size, part.stat().st_size if part.exists() else 0)


def _fetch_large(
    hub: Hub,
    name: str,
    commit: str,
    file: _File,
    folder: Path,
    on_bytes: Callable[[int], None],
) -> None:
    assert file.sha256 is not None
    blob = folder / "blobs" / file.sha256
    if blob.exists():
        on_bytes(file.size)
        return
    transfer = hub.transfer(name, file.name, commit, file.size)
    fetch_blob(blob, file.size, transfer, on_bytes)


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

"""Models fetched from the Hugging Face hub, or a mirror of it, into its own cache.

Knows names of models and of files, and the hub's client; does not know what is in the files.
Large files are fetched here, not by the client: since its version 2 it throws away what it had
of a file when it is interrupted. Here the part stays in the cache and the next call goes on.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.hub.client import Hub, hub_client, hub_errors
from cpm_lm.hub.transfer import fetch_blob, part_of
from cpm_lm.progress import Progress, ProgressCounter

__all__ = ["KNOWN", "Fetched", "fetch", "full_name"]

KNOWN = (
    "TsinghuaAI/CPM-Generate",
    "mymusise/CPM-Generate-distill",
    "uer/gpt2-chinese-cluecorpussmall",
)
"""Models of this family on the hub; the part after the stroke is enough, in any case."""

NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}", re.ASCII)
SHARD = r"(-\d{5}-of-\d{5})"
WEIGHTS = (
    r"model\.safetensors",
    rf"model({SHARD}\.safetensors|\.safetensors\.index\.json)",
    r"pytorch_model\.bin",
    rf"pytorch_model({SHARD}\.bin|\.bin\.index\.json)",
    r"tf_model\.h5",
)
"""Forms of the weights, the best first; of sharded ones all files are needed."""
CONFIG = "config.json"
TOKENIZER_FILES = frozenset(
    "chinese_vocab.model spiece.model vocab.json vocab.txt tokenizer.json tokenizer_config.json "
    "special_tokens_map.json added_tokens.json text_style.json".split()
)
"""What a tokenizer may consist of."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A model in the cache."""

    name: str
    """In full."""
    commit: str
    """The version that the hub had."""
    directory: Path
    """Where the files lie, under their own names."""
    bytes: int
    """Their size in all."""


@dataclass(frozen=True)
class _File:
    name: str
    size: int
    sha256: str | None
    """Of large files, which the hub keeps by it."""


def full_name(name: str) -> str:
    """Return a model's name on the hub, `owner/name`.

    Raises:
        ConfigError: it is neither such a name nor that of a known model.
    """
    short = {known.split("/")[1].lower(): known for known in KNOWN}
    if found := short.get(name.lower()):
        return found
    if not NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{name!r} is no name of a model; expected {', '.join(KNOWN)}, or another owner/name"
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
    """Fetch the files of a model that are needed, and no others.

    HF_ENDPOINT names a mirror, HF_HOME or HF_HUB_CACHE the place of the cache, HF_TOKEN who asks.
    No telemetry is sent.

    Args:
        name: `owner/name`.
        revision: a branch, a tag or a commit.
        cache: the cache's directory instead of the client's own.
        reserve: given the size of the weights, returns a directory and the bytes that will be
            needed there besides, so that a disk that is too small is noticed beforehand.
        progress: called with the bytes there and the bytes in all.

    Raises:
        CheckpointError: the hub cannot be reached, has no such model, or not for everyone; the
            model is in no readable form; the disk is too small; a file came damaged, or is being
            fetched by another process.
        EngineError: the client, huggingface_hub, is not installed.
    """
    with hub_client() as hub, hub_errors(name, hub.endpoint):
        about = hub.api.model_info(name, revision=revision, files_metadata=True)
        commit = _hex(about.sha, 40)
        files = choose(name, (_listed(sibling) for sibling in about.siblings or ()))
        folder = (cache or hub.cache) / f"models--{name.replace('/', '--')}"
        count = ProgressCounter(sum(file.size for file in files), progress)
        pending = [file for file in files if not (folder / _pointer(commit, file)).exists()]
        lacking = sum(_lacking(folder, file) for file in pending)
        weights = sum(file.size for file in files if _form(file.name) is not None)
        _check_space(folder, lacking, reserve(weights) if reserve else None)
        count.add(sum(file.size for file in files if file not in pending))
        for file in pending:
            if file.sha256:
                _fetch_large(hub, name, commit, file, folder, count.add)
            hub.link(name, file.name, commit, folder.parent)
            count.add(0 if file.sha256 else file.size)
    directory = folder / "snapshots" / commit
    return Fetched(name=name, commit=commit, directory=directory, bytes=count.done)


def choose(name: str, files: Iterable[_File]) -> list[_File]:
    """Return the files to fetch: one form of the weights, the configuration, the vocabulary.

    Raises:
        CheckpointError: there is no configuration, or no form of the weights is complete.
    """
    there = {file.name: file for file in files}
    form = next((form for form in range(len(WEIGHTS)) if _complete(form, there)), None)
    if form is None or CONFIG not in there:
        lack = CONFIG if form is not None else "weights in a form that can be read"
        seen = ", ".join(one_line(name, 60) for name in sorted(there)[:12]) or "nothing"
        raise CheckpointError(
            f"{name} has no {lack}: expected model.safetensors, pytorch_model.bin or tf_model.h5, "
            f"and config.json; found {seen}"
        )
    wanted = (n for n in there if n == CONFIG or n in TOKENIZER_FILES or _form(n) == form)
    return [there[n] for n in sorted(wanted)]


def _form(name: str) -> int | None:
    matches = (form for form, pattern in enumerate(WEIGHTS) if re.fullmatch(pattern, name))
    return next(matches, None)


def _complete(form: int, there: dict[str, _File]) -> bool:
    names = [name for name in there if _form(name) == form]
    shards = [name for name in names if re.search(SHARD, name)]
    if not shards:
        return bool(names) and not any(name.endswith(".index.json") for name in names)
    return len(names) == len(shards) + 1 and len(shards) == int(shards[0].split("-of-")[1][:5])


def _listed(sibling: Any) -> _File:
    if sibling.lfs is None:
        return _File(sibling.rfilename, sibling.size or 0, None)
    return _File(sibling.rfilename, sibling.lfs.size, _hex(sibling.lfs.sha256, 64))


def _hex(digest: Any, digits: int) -> str:
    """Return a digest, which becomes the name of a file, once it is seen to be one."""
    if not isinstance(digest, str) or not re.fullmatch(f"[0-9a-f]{{{digits}}}", digest):
        raise ValueError(f"{digest!a} is no digest")
    return digest


def _pointer(commit: str, file: _File) -> Path:
    return Path("snapshots", commit, file.name)


def _lacking(folder: Path, file: _File) -> int:
    """Return how many bytes of a file are still to come."""
    blob = folder / "blobs" / (file.sha256 or "?")
    if file.sha256 is None:
        return file.size
    if blob.exists():
        return 0
    part = part_of(blob)
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


def _check_space(folder: Path, lacking: int, besides: tuple[Path, int] | None) -> None:
    needs = [(folder, lacking), *([besides] if besides else [])]
    disks: dict[int, tuple[Path, int]] = {}
    for place, size in needs:
        there = next(p for p in (place, *place.absolute().parents) if p.exists())
        device = there.stat().st_dev
        disks[device] = (there, size + disks.get(device, (there, 0))[1])
    for there, size in disks.values():
        if (free := shutil.disk_usage(there).free) < size:
            raise CheckpointError(
                f"the disk of {there} has {free:,} bytes free, {size:,} are needed: make room, "
                "or set HF_HOME to a directory on a larger disk"
            )

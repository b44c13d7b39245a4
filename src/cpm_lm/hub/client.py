"""The hub's own client, huggingface_hub, made quiet: no telemetry, no bars of its own.

Knows the client; what its errors mean is said here in our words.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError, CpmError, EngineError
from cpm_lm.hub.transfer import GrowingFile, Transfer

__all__ = ["Hub", "hub_client", "hub_errors"]

OFFICIAL = "https://huggingface.co"
MIRRORS = "set HF_ENDPOINT to a mirror, for example HF_ENDPOINT=https://hf-mirror.com"
LIBRARY = "cpm-lm"


@dataclass(frozen=True)
class Hub:
    """The client, bound to one endpoint."""

    api: Any
    """A huggingface_hub.HfApi."""
    endpoint: str
    cache: Path
    """Where the client keeps what it has fetched."""

    def link(self, name: str, file: str, commit: str, cache: Path) -> None:
        """Put a file of a model into the cache's listing; fetch it, unless its blob is there."""
        self.api.hf_hub_download(name, file, revision=commit, cache_dir=cache)

    def transfer(self, name: str, file: str, commit: str, size: int) -> Transfer:
        """Return what fetches the rest of a file."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(name, file, revision=commit, endpoint=self.endpoint)
        headers = build_hf_headers(library_name=LIBRARY, library_version=version(LIBRARY))
        headers["accept-encoding"] = "identity"  # a part of a compressed answer is of no use

        def fetch(target: GrowingFile, have: int) -> None:
            http_get(url, target, resume_size=have, headers=headers, expected_size=size)

        return fetch


@contextmanager
def hub_client() -> Iterator[Hub]:
    """Give the client for HF_ENDPOINT, or else the hub itself, and leave its settings as they were.

    Raises:
        EngineError: it is not installed.
    """
    # Read when it is first imported, and from then on kept in its module of constants.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )
    except ImportError:
        raise EngineError(
            "fetching models needs huggingface_hub: pip install 'cpm-lm[pull]'"
        ) from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or OFFICIAL
    api = HfApi(endpoint=endpoint, library_name=LIBRARY, library_version=version(LIBRARY))
    telemetry, quiet = constants.HF_HUB_DISABLE_TELEMETRY, are_progress_bars_disabled()
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    try:
        yield Hub(api, endpoint, Path(constants.HF_HUB_CACHE))
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        if not quiet:
            enable_progress_bars()


@contextmanager
def hub_errors(name: str, endpoint: str) -> Iterator[None]:
    """Turn what the client raises into one of our errors, in a line that says what to do."""
    try:
        yield
    except CpmError:
        raise
    except Exception as error:  # the client's own, its transport's, or an answer of another shape
        raise CheckpointError(_meaning(name, endpoint, error)) from error


def _meaning(name: str, endpoint: str, error: Exception) -> str:
    """Return what an error means and what to do; the first row that fits."""
    from huggingface_hub import errors as e

    status = error.response.status_code if isinstance(error, e.HfHubHTTPError) else 0
    said = one_line(error, 120)
    mirror = f"; {MIRRORS}" if endpoint == OFFICIAL else "; check HF_ENDPOINT"
    rows: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        (
            e.GatedRepoError,
            f"{name} is only for those who have agreed to its terms: agree at {OFFICIAL}/{name}, "
            "then log in with `hf auth login` or set HF_TOKEN",
        ),
        (
            e.HfHubHTTPError if status in (401, 403) else e.RepositoryNotFoundError,
            f"{endpoint} has no model {name}, or not for everyone: check the name, or set HF_TOKEN "
            "if the model is private",
        ),
        (e.RevisionNotFoundError, f"{name} has no such revision on {endpoint}"),
        (
            e.HfHubHTTPError,
            f"{endpoint} answered with the status {status} for {name}; try again later{mirror}",
        ),
        (e.HFValidationError, f"{name!r} is no name of a model: {said}"),
        (
            e.OfflineModeIsEnabled,
            "HF_HUB_OFFLINE is set, so nothing can be fetched; unset it",
        ),
        (
            (e.HTTPError, ConnectionError, e.LocalEntryNotFoundError),
            f"{endpoint} could not be reached, or broke off ({said}). What was fetched is kept: "
            f"run the same command again to go on{mirror}",
        ),
        (OSError, _disk(name, error)),
    )
    unlike = f"{endpoint} does not answer as the hub does ({said}): check HF_ENDPOINT"
    return next((text for kind, text in rows if isinstance(error, kind)), unlike)


def _disk(name: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return (
            f"the disk is full; {name} is kept as far as it was fetched: make room and run the "
            "same command again, or set HF_HOME to a directory on a larger disk"
        )
    return f"{name} could not be fetched: {one_line(error)}"

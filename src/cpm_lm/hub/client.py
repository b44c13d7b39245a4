"""The hub's client, huggingface_hub, without telemetry and progress bars, with our errors.

Knows the client's connections, addresses and exceptions; does not know which files a model needs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError, CpmError, EngineError
from cpm_lm.hub.listing import LISTING_BYTES, Listing, RemoteFile, parse_listing
from cpm_lm.hub.receive import Get, collect, receive
from cpm_lm.hub.stream import replies
from cpm_lm.hub.transfer import Transfer
from cpm_lm.installation import pip_install
from cpm_lm.languages import later, tr

__all__ = ["Hub", "hub_client", "hub_errors"]

OFFICIAL = "https://huggingface.co"
MIRROR_HINT = later("set HF_ENDPOINT to a mirror, for example HF_ENDPOINT=https://hf-mirror.com")
LIBRARY = "cpm-lm"


@dataclass(frozen=True)
class Hub:
    """The client for one endpoint."""

    endpoint: str
    """The URL of the hub or of a mirror."""
    cache: Path
    """The client's cache directory."""

    def listing(self, name: str, revision: str) -> Listing:
        """Return the commit and the files of a model."""
        from huggingface_hub.utils import validate_repo_id

        validate_repo_id(name)
        url = f"{self.endpoint}/api/models/{name}/revision/{quote(revision, safe='')}?blobs=true"
        text = collect(self._getter(url), LISTING_BYTES, tr("the listing of {name}", name=name))
        return parse_listing(text)

    def transfer(self, name: str, file: RemoteFile, commit: str) -> Transfer:
        """Return a function that fetches the rest of a file."""
        from huggingface_hub import hf_hub_url

        url = hf_hub_url(name, file.name, revision=commit, endpoint=self.endpoint)
        return lambda target: receive(self._getter(url), target, file.size, file.limit)

    def _getter(self, url: str) -> Get:
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session

        headers = build_hf_headers(library_name=LIBRARY, library_version=version(LIBRARY))
        # The rest of a compressed response could not be appended to the part we have.
        headers["accept-encoding"] = "identity"
        timeout = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
        return lambda more: replies(get_session(), url, {**headers, **more}, timeout)


@contextmanager
def hub_client() -> Iterator[Hub]:
    """Yield the client for HF_ENDPOINT, default the hub itself; restore its settings at the end.

    Raises:
        EngineError: huggingface_hub is not installed.
    """
    # The client reads this once, at its first import. Afterwards only its constant counts.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import constants
        from huggingface_hub.utils import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )
    except ImportError:
        raise EngineError(
            "fetching models needs huggingface_hub: {command}", command=pip_install("pull")
        ) from None
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or OFFICIAL
    telemetry, quiet = constants.HF_HUB_DISABLE_TELEMETRY, are_progress_bars_disabled()
    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    try:
        yield Hub(endpoint, Path(constants.HF_HUB_CACHE))
    finally:
        constants.HF_HUB_DISABLE_TELEMETRY = telemetry
        if not quiet:
            enable_progress_bars()


@contextmanager
def hub_errors(name: str, endpoint: str) -> Iterator[None]:
    """Convert the client's exceptions into a CheckpointError that says what to do."""
    try:
        yield
    except CpmError:
        raise
    except (
        Exception
    ) as error:  # from the client, from its HTTP library, or for a malformed response
        raise CheckpointError(_error_message(name, endpoint, error)) from error


def _error_message(name: str, endpoint: str, error: Exception) -> str:
    """Return a message for an exception: the first row whose type matches."""
    from huggingface_hub import errors as e

    status = error.response.status_code if isinstance(error, e.HfHubHTTPError) else 0
    details = one_line(error, 120)
    mirror = f"; {tr(MIRROR_HINT)}" if endpoint == OFFICIAL else tr("; check HF_ENDPOINT")
    rows: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
        (
            e.GatedRepoError,
            tr(
                "{name} is gated: accept its terms at {official}/{name}, then log in "
                "with `hf auth login` or set HF_TOKEN",
                name=name,
                official=OFFICIAL,
            ),
        ),
        (
            e.HfHubHTTPError if status in (401, 403) else e.RepositoryNotFoundError,
            tr(
                "{endpoint} has no public model {name}: check the name, or set HF_TOKEN "
                "if the model is private",
                endpoint=endpoint,
                name=name,
            ),
        ),
        (
            e.RevisionNotFoundError,
            tr("{name} has no such revision on {endpoint}", name=name, endpoint=endpoint),
        ),
        (
            e.HfHubHTTPError,
            tr(
                "{endpoint} answered with status {status} for {name}; try again later{mirror}",
                endpoint=endpoint,
                status=status,
                name=name,
                mirror=mirror,
            ),
        ),
        (
            e.HFValidationError,
            tr("invalid model name {name!r}: {details}", name=name, details=details),
        ),
        (
            e.OfflineModeIsEnabled,
            tr("HF_HUB_OFFLINE is set, so nothing can be fetched; unset it"),
        ),
        (
            (e.HTTPError, ConnectionError, e.LocalEntryNotFoundError),
            tr(
                "{endpoint} could not be reached, or the connection was lost "
                "({details}). The data fetched so far is kept: run the same command "
                "again to resume{mirror}",
                endpoint=endpoint,
                details=details,
                mirror=mirror,
            ),
        ),
        (OSError, _os_error_message(name, error)),
    )
    unexpected = tr(
        "{endpoint} does not answer as the hub does ({details}): check HF_ENDPOINT",
        endpoint=endpoint,
        details=details,
    )
    return next((text for kind, text in rows if isinstance(error, kind)), unexpected)


def _os_error_message(name: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return tr(
            "the disk is full; the data fetched so far of {name} is kept: free some "
            "space and run the same command again, or set HF_HOME to a directory on "
            "a larger disk",
            name=name,
        )
    return tr("{name} could not be fetched: {error}", name=name, error=one_line(error))

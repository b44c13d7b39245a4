"""The body of an HTTP reply as it arrives, from a server that is not trusted.

Knows requests, redirects and time; does not know files. The HTTP library does not unpack a body: it
would unpack a small packet to any size at once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError

__all__ = ["Patience", "Reply", "replies", "watched"]

REDIRECTS = 5
"""The hub itself needs two: a renamed model, and the host of large files."""
STALL_SECONDS = 60.0
STALL_BYTES = 1 << 16
"""A transfer that gives less than this in STALL_SECONDS of waiting has stalled: about 1 kB/s."""
ERROR_BYTES = 1 << 16
"""How much of an error's body is read."""
WAITING = 4
"""Packets that may wait for the disk."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The head of a reply."""

    status: int
    headers: Mapping[str, str]
    """By lower-case names."""


class Patience:
    """Limits how long a server may be waited for; only waiting counts."""

    def __init__(self) -> None:
        self._waited, self._bytes = 0.0, 0

    def left(self) -> float:
        """Return for how many seconds to wait now.

        Raises:
            CheckpointError: the server has sent too little.
        """
        if self._waited < STALL_SECONDS:
            return STALL_SECONDS - self._waited
        if self._bytes < STALL_BYTES:
            raise CheckpointError(
                "the transfer has stalled: {bytes:,} bytes came in {stall_seconds:.0f} "
                "seconds. The data fetched so far is kept: run the same command again to "
                "resume",
                bytes=self._bytes,
                stall_seconds=STALL_SECONDS,
            )
        self._waited, self._bytes = 0.0, 0
        return STALL_SECONDS

    def waited(self, seconds: float, size: int) -> None:
        """Record a wait and the bytes that it gave."""
        self._waited += seconds
        self._bytes += size


def replies(
    session: Any, url: str, headers: Mapping[str, str], timeout: float
) -> Generator[Reply | bytes, None, None]:
    """Yield the head of the reply to a GET, then its body as sent; follow a few safe redirects.

    Args:
        session: an HTTP client of huggingface_hub.
        url: what to get.
        headers: the request's headers; the access token goes to the first host only.
        timeout: the seconds to wait for a connection or a packet.

    Raises:
        CheckpointError: the redirects are too many, or lead to another scheme.
        Exception: that of huggingface_hub for an error status, or of the client.
    """
    for _ in range(REDIRECTS + 1):
        options = {"headers": dict(headers), "timeout": timeout, "follow_redirects": False}
        with session.stream("GET", url, **options) as response:
            location = response.headers.get("location")
            if response.status_code not in (301, 302, 303, 307, 308) or location is None:
                if response.status_code >= 400:
                    _raise_for_status(response)
                heads = {key.lower(): value for key, value in response.headers.items()}
                yield Reply(status=response.status_code, headers=heads)
                yield from response.iter_raw()
                return
        url, headers = _redirected(url, location, headers)
    raise CheckpointError(
        "the server of {netloc} redirects more than {redirects} times; check HF_ENDPOINT",
        netloc=urlsplit(url).netloc[:100],
        redirects=REDIRECTS,
    )


def _redirected(
    url: str, location: str, headers: Mapping[str, str]
) -> tuple[str, Mapping[str, str]]:
    """Return the next address, and the headers for it."""
    target = urljoin(url, location)
    here, there = urlsplit(url), urlsplit(target)
    if there.scheme != "https" and (there.scheme, here.scheme) != ("http", "http"):
        raise CheckpointError(
            "{netloc} redirects from {scheme} to {target}, which is not followed; "
            "check HF_ENDPOINT",
            netloc=here.netloc,
            scheme=here.scheme,
            target=one_line(target, 80),
        )
    if (here.scheme, here.netloc) != (there.scheme, there.netloc):
        headers = {key: value for key, value in headers.items() if key.lower() != "authorization"}
    return target, headers


def _raise_for_status(response: Any) -> None:
    """Raise the hub client's error for a reply, after reading only the start of its body."""
    from huggingface_hub.utils import hf_raise_for_status

    body = b""
    for chunk in response.iter_raw():
        body += chunk
        if len(body) >= ERROR_BYTES:
            break
    encoded = ("content-encoding", "content-length", "transfer-encoding")
    kept = [(key, value) for key, value in response.headers.items() if key.lower() not in encoded]
    packed = response.headers.get("content-encoding", "identity") != "identity"
    hf_raise_for_status(
        type(response)(
            status_code=response.status_code,
            headers=kept,
            content=b"" if packed else body[:ERROR_BYTES],
            request=response.request,
        )
    )


def watched(
    items: Generator[Reply | bytes, None, None], patience: Patience
) -> Iterator[Reply | bytes]:
    """Yield what a generator yields, running it in a thread, as long as `patience` allows.

    So a server that sends a byte at a time, or never ends its head, is left: its thread ends with
    the next packet, or with the process.
    """
    arrived: queue.Queue[Reply | bytes | BaseException | None] = queue.Queue(WAITING)
    abandoned = threading.Event()
    thread = threading.Thread(target=_deliver, args=(items, arrived, abandoned), daemon=True)
    thread.start()
    try:
        while True:
            limit, started = patience.left(), time.monotonic()
            try:
                item = arrived.get(timeout=limit)
            except queue.Empty:
                item = b""
            size = len(item) if isinstance(item, bytes) else 0
            patience.waited(time.monotonic() - started, size)
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            if item != b"":
                yield item
    finally:
        abandoned.set()


def _deliver(
    items: Generator[Reply | bytes, None, None],
    arrived: queue.Queue[Reply | bytes | BaseException | None],
    abandoned: threading.Event,
) -> None:
    def put(item: Reply | bytes | BaseException | None) -> None:
        while not abandoned.is_set():
            try:
                return arrived.put(item, timeout=0.2)
            except queue.Full:
                continue
        return None

    try:
        for item in items:
            put(item)
            if abandoned.is_set():
                items.close()
                return
        put(None)
    except BaseException as error:  # it is raised where the items are read
        put(error)

"""Receive a file over HTTP into an open file: resumed, and never longer than it may be.

Knows ranges, sizes and compression; does not know which files there are.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from cpm_lm.errors import CheckpointError
from cpm_lm.hub.stream import Patience, Reply, watched
from cpm_lm.hub.transfer import DamagedError, ProgressFile
from cpm_lm.languages import tr

__all__ = ["Get", "collect", "receive"]

Get = Callable[[dict[str, str]], Any]
"""A function of additional headers that returns a generator, see `replies`."""

Unpack = Callable[[bytes], Iterator[bytes]]
"""A function from bytes as sent to bytes of the file."""

RETRIES = 5
"""Attempts in a row that give no new byte."""
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
"""The status codes after which to try again."""
PIECE = 1 << 20
"""Bytes that are unpacked at once."""


def collect(get: Get, limit: int, what: str) -> bytes:
    """Return a small body; a lost connection, as one that the server had closed, is tried again.

    Raises:
        CheckpointError: it is longer than `limit` bytes, packed or unpacked, or stalls.
        Exception: the client's, for an error status or after a second lost connection.
    """
    try:
        return _collected(get, limit, what)
    except Exception as error:
        if not _is_lost(error):
            raise
    return _collected(get, limit, what)


def _collected(get: Get, limit: int, what: str) -> bytes:
    body = bytearray()
    unpack: Unpack = _identity
    try:
        for item in watched(get({}), Patience()):
            if isinstance(item, Reply):
                unpack = _unpacker(item, limit)
                continue
            for piece in unpack(item):
                body += piece
                if len(body) > limit:
                    raise DamagedError(tr("it is longer than {limit:,} bytes", limit=limit))
    except DamagedError as error:
        raise CheckpointError(
            "{what} is not read: {error}; check HF_ENDPOINT", what=what, error=error
        ) from None
    return bytes(body)


def receive(get: Get, target: ProgressFile, size: int | None, limit: int) -> None:
    """Append the rest of a file; after a broken connection, try again from where it broke.

    Args:
        get: starts a request.
        target: the file, at its end.
        size: its whole size in bytes, if known.
        limit: the most bytes that it may have.

    Raises:
        CheckpointError: it stalls, or has another size than announced.
        Exception: the client's, after several attempts without new data.
    """
    patience, failures, best = Patience(), 0, target.tell()
    while size is None or target.tell() < size:
        try:
            _attempt(get, target, size, limit, patience)
        except Exception as error:
            if not _is_transient(error):
                raise
            failures = failures + 1 if target.tell() <= best else 1
            best = max(best, target.tell())
            if failures > RETRIES:
                raise
            time.sleep(min(2.0 ** (failures - 1), 8.0))
        else:
            return


def _is_transient(error: Exception) -> bool:
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in TRANSIENT
    return _is_lost(error)


def _is_lost(error: Exception) -> bool:
    """Return whether a connection was lost, or not made."""
    from huggingface_hub import errors

    is_status = isinstance(error, errors.HfHubHTTPError)
    return isinstance(error, errors.HTTPError) and not is_status


def _attempt(
    get: Get, target: ProgressFile, size: int | None, limit: int, patience: Patience
) -> None:
    have = target.tell()
    unpack: Unpack = _identity
    for item in watched(get({"Range": f"bytes={have}-"} if have else {}), patience):
        if isinstance(item, Reply):
            if not _continues(item, have):
                target.seek(0)
                target.truncate()
            _check_announced(item, target.tell(), size, limit)
            unpack = _unpacker(item, limit)
            continue
        for piece in unpack(item):
            if target.tell() + len(piece) > limit:
                raise DamagedError(
                    tr("the server sends more than the {limit:,} bytes announced", limit=limit)
                )
            target.write(piece)
    if size is not None and target.tell() < size:
        raise DamagedError(
            tr(
                "the server sent {target:,} of {size:,} bytes announced",
                target=target.tell(),
                size=size,
            )
        )


def _continues(reply: Reply, have: int) -> bool:
    """Return whether a body begins after the bytes that are there, not at the file's beginning."""
    if reply.status != 206:
        return False
    if not reply.headers.get("content-range", "").startswith(f"bytes {have}-"):
        raise DamagedError(tr("the server sends another part of the file than asked for"))
    return True


def _check_announced(reply: Reply, have: int, size: int | None, limit: int) -> None:
    """Check the length that the reply states, before its body comes."""
    length = reply.headers.get("content-length", "")
    if "content-encoding" in reply.headers or not (length.isascii() and length.isdecimal()):
        return
    total = have + int(length[:20])
    if total > limit or (size is not None and total != size):
        raise DamagedError(
            tr(
                "the server announces {total:,} bytes, its listing {limit:,}",
                total=total,
                limit=limit if size is None else size,
            )
        )


def _identity(data: bytes) -> Iterator[bytes]:
    yield data


def _unpacker(reply: Reply, limit: int) -> Unpack:
    """Return a function from bytes as sent to bytes of the file, in bounded pieces.

    Only gzip is unpacked: some mirrors send it although the request refuses all packing.
    """
    encoding = reply.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return _identity
    if encoding not in ("gzip", "x-gzip") or reply.status == 206:
        raise DamagedError(tr("the server packs what it was asked to send as it is"))
    unpacker = zlib.decompressobj(wbits=31)
    room = limit + limit // 100 + PIECE  # gzip makes no file longer than this; else it is endless

    def unpack(data: bytes) -> Iterator[bytes]:
        nonlocal room
        room -= len(data)
        if room < 0 or unpacker.eof:
            raise DamagedError(tr("the server sends more than the file, packed"))
        while True:
            try:
                piece = unpacker.decompress(data, PIECE)
            except zlib.error:
                raise DamagedError(tr("the server's data is packed wrongly")) from None
            yield piece
            data = unpacker.unconsumed_tail
            if not data and len(piece) < PIECE:
                return

    return unpack

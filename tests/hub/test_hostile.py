"""A server that lies: nothing it says becomes a path, and everything it sends has a limit."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.errors import CheckpointError
from cpm_lm.hub import listing as listings
from cpm_lm.hub import stream
from cpm_lm.hub.fetch import Fetched, fetch
from cpm_lm.hub.transfer import partial_name
from tests.support.fake_hub import COMMIT, FakeHub, serving

NAME = "owner/tiny"
MODEL = bytes(range(256)) * 40
FILES = {"config.json": b'{"n": 1}', "vocab.txt": b"x\n", "model.safetensors": MODEL}
SMALL, LARGE = "resolve/" + COMMIT + "/config.json", "cdn/blob/model"

Get = Callable[..., Fetched]
Answer = Callable[[Any], None]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files=dict(FILES))) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


@pytest.fixture
def get(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Get:
    real = time.sleep
    monkeypatch.setattr("cpm_lm.hub.receive.time.sleep", lambda seconds: real(min(seconds, 0.01)))
    return lambda: fetch(NAME, cache=tmp_path / "cache")


def answering(body: bytes, **headers: str) -> Answer:
    """Answer with these headers; they replace the usual ones."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        for key, value in ({"Content_Length": str(len(body))} | headers).items():
            if value:
                handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(hub: FakeHub, block: bytes, **headers: str) -> Answer:
    """Send blocks, chunked, as long as the client reads; count them."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        handler.end_headers()
        hub.sent = 0
        while hub.sent < 1 << 28:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
            hub.sent += len(block)

    return answer


def redirecting(location: str) -> Answer:
    def answer(handler: Any) -> None:
        handler.reply(302, Location=location)

    return answer


def everything(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.mark.parametrize("where", [SMALL, "config.json", LARGE])
@pytest.mark.parametrize("said", ["{outside}", "../../../../x", '"', "a/b", "x" * 300, "\x01"])
def test_what_a_server_says_is_no_part_of_a_path(
    hub: FakeHub, get: Get, tmp_path: Path, where: str, said: str
) -> None:
    """The hub's client made a path of the ETag: any file could be created anywhere."""
    said = said.format(outside=tmp_path / "outside")
    body = MODEL if where == LARGE else FILES["config.json"]
    hub.hostile["/blob/model" if where == LARGE else where] = answering(
        body,
        ETag=f'"{said}"',
        X_Linked_Etag=f'"{said}"',
        X_Repo_Commit=said,
        Content_Disposition=f'attachment; filename="{said}"',
    )
    try:
        found = get()
    except CheckpointError as error:
        assert "\x01" in said, error  # the client's library refuses such a header  # noqa: PT017
    else:
        assert {p.name: p.read_bytes() for p in found.directory.iterdir()} == FILES
    assert everything(tmp_path) == {"cache"}
    for blob in (tmp_path / "cache").rglob("blobs/*"):
        assert set(blob.name.removesuffix(".cpm.incomplete")) <= set("0123456789abcdef")


BOMB = zlib.compress(b"\0" * (64 << 20), wbits=31)
GZIP = gzip.compress(b"")[:10]  # the head
EMPTY_BLOCK = b"\0\0\0\xff\xff"  # a stored block of no bytes


@pytest.mark.parametrize("where", ["config.json", "/blob/model"])
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda hub: endless(hub, b"x" * 65536), "more than the"),
        (lambda hub: answering(b"x" * 99999), "announces 99,999 bytes"),
        (lambda hub: answering(b"x", Content_Length="9" * 30), "announces|could not be"),
        (lambda hub: answering(BOMB, Content_Encoding="gzip"), "more than the"),
        (
            lambda hub: endless(
                hub, gzip.compress(b"")[:10] + EMPTY_BLOCK, Content_Encoding="gzip"
            ),
            "packed wrongly|more than the",
        ),
        (lambda hub: answering(b"x", Content_Encoding="br"), "packs what"),
        (lambda hub: answering(b"x" * 99, Content_Encoding="gzip"), "packed wrongly"),
        (
            lambda hub: answering(b"", Content_Length="", Transfer_Encoding=""),
            "of .* bytes announced",
        ),
        (lambda hub: redirecting("/loop/config.json/blob/model"), "redirects more than 5 times"),
        (lambda hub: redirecting("file:///etc/passwd"), "redirects from http to file:"),
        (lambda hub: redirecting("ftp://127.0.0.1/x"), "redirects from http to ftp:"),
        (lambda hub: redirecting("//[x"), "does not answer as the hub does"),
    ],
)
def test_a_body_is_stopped_while_it_comes(
    hub: FakeHub,
    get: Get,
    tmp_path: Path,
    where: str,
    answer: Callable[[FakeHub], Answer],
    said: str,
) -> None:
    hub.hostile[where] = answer(hub)
    with pytest.raises(CheckpointError, match=said) as caught:
        get()
    assert "\n" not in str(caught.value)
    assert hub.sent < 1 << 24  # what the sockets hold, not what the server would send
    assert everything(tmp_path) == {"cache"}
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) <= len(MODEL) + 10
    hub.hostile.clear()
    assert (get().directory / "config.json").read_bytes() == FILES["config.json"]


def test_endless_empty_blocks_are_stopped(hub: FakeHub, get: Get) -> None:
    """They unpack to nothing, so the length of the file is never reached."""

    def answer(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        handler.wfile.write(GZIP)
        hub.sent = 0
        while hub.sent < 1 << 28:
            handler.wfile.write(EMPTY_BLOCK * 10000)
            hub.sent += 50000

    hub.hostile["config.json"] = answer
    with pytest.raises(CheckpointError, match="more than the file, packed"):
        get()
    assert hub.sent < 1 << 24


def test_an_honest_packed_file_is_read(hub: FakeHub, get: Get) -> None:
    packed = gzip.compress(FILES["config.json"])
    hub.hostile["config.json"] = answering(packed, Content_Encoding="gzip")
    assert (get().directory / "config.json").read_bytes() == FILES["config.json"]


def slow_head(handler: Any) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    drip(handler, b"x")


def slow_body(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    drip(handler, b"{")


def interim(handler: Any) -> None:
    drip(handler, b"HTTP/1.1 102 Processing\r\n\r\n")


def silent(handler: Any) -> None:
    threading.Event().wait(3)


def drip(handler: Any, data: bytes) -> None:
    for _ in range(200):
        handler.wfile.write(data)
        handler.wfile.flush()
        threading.Event().wait(0.05)  # time.sleep is replaced


@pytest.mark.parametrize("where", ["/api/models", "config.json", "/blob/model"])
@pytest.mark.parametrize("answer", [slow_head, slow_body, interim, silent])
def test_a_transfer_that_stalls_ends(
    hub: FakeHub, get: Get, monkeypatch: pytest.MonkeyPatch, where: str, answer: Answer
) -> None:
    """A byte now and then resets every time limit of a socket."""
    monkeypatch.setattr(stream, "STALL_SECONDS", 0.3)
    hub.hostile[where] = answer
    started = time.monotonic()
    with pytest.raises(CheckpointError, match="has stalled"):
        get()
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("location", ["http://elsewhere.example/x", "//elsewhere.example/x"])
def test_a_redirect_never_leaves_https_and_the_token_stays_at_home(location: str) -> None:
    headers = {"Authorization": "Bearer x", "User-Agent": "y"}
    if location.startswith("http:"):
        with pytest.raises(CheckpointError, match="from https to http:"):
            stream._redirected("https://hub.example/a", location, headers)
    else:
        target, kept = stream._redirected("https://hub.example/a", location, headers)
        assert (target, kept) == ("https://elsewhere.example/x", {"User-Agent": "y"})
    assert stream._redirected("https://hub.example/a", "/b", headers)[1] == headers


def test_a_part_of_another_range_is_refused(hub: FakeHub, get: Get, tmp_path: Path) -> None:
    part = tmp_path / "cache" / "models--owner--tiny" / "blobs"
    part.mkdir(parents=True)
    large = listings.RemoteFile("model.safetensors", len(MODEL), _sha256(MODEL))
    (part / partial_name(COMMIT, large)).write_bytes(MODEL[:100])

    def answer(handler: Any) -> None:
        handler.reply(206, MODEL[:-50], Content_Range=f"bytes 50-{len(MODEL)}/{len(MODEL)}")

    hub.hostile["/blob/model"] = answer
    with pytest.raises(CheckpointError, match="another part of the file"):
        get()
    hub.hostile.clear()
    assert (get().directory / "model.safetensors").read_bytes() == MODEL


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


def test_a_listing_has_a_limit(
    hub: FakeHub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer, said in (
        (endless(hub, b'{"a": "' + b"x" * 65536), r"longer than [\d,]+ bytes"),
        (answering(BOMB, Content_Encoding="gzip"), r"longer than [\d,]+ bytes"),
        (answering(b"[" * 100_000), "does not answer as the hub does"),
        (answering(b'{"sha": ' + b"9" * 5000 + b"}"), "does not answer as the hub does"),
    ):
        hub.hostile["/api/models"] = answer
        with pytest.raises(CheckpointError, match=said):
            get()
        assert hub.sent < 1 << 25
    hub.hostile.clear()
    monkeypatch.setattr(listings, "FILES", 2)
    with pytest.raises(CheckpointError, match="the model has 3 files; at most 2"):
        get()
    assert everything(tmp_path) == set()


def test_a_listing_whose_connection_is_lost_is_asked_for_again(hub: FakeHub, get: Get) -> None:
    """A connection that is kept open may have been closed by the server since."""

    def answer(handler: Any) -> None:
        hub.hostile.clear()

    hub.hostile["/api/models"] = answer
    assert (get().directory / "config.json").exists()


def test_an_error_page_has_a_limit(hub: FakeHub, get: Get) -> None:
    def answer(handler: Any) -> None:
        handler.send_response(500)
        handler.end_headers()
        hub.sent = 0
        while hub.sent < 1 << 28:
            handler.wfile.write(b"x" * 65536)
            hub.sent += 65536

    hub.hostile["/api/models"] = answer
    with pytest.raises(CheckpointError, match="status 500") as caught:
        get()
    assert len(str(caught.value)) < 1000
    assert hub.sent < 1 << 24


@pytest.mark.parametrize(
    "name",
    ["/x", "../x", "a/../x", "a//x", "", ".", "a\\x", "C:x", "a\0", "a\nx", "\x7f", "x" * 256,
     "/".join(["x" * 200] * 6), "\ud800", 3, None, ["x"]],
)  # fmt: skip
def test_a_name_that_is_not_a_files_is_refused(
    hub: FakeHub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    listing = hub.listing()
    listing["siblings"].append({"rfilename": name, "size": 1})
    monkeypatch.setattr(hub, "listing", lambda: listing)
    with pytest.raises(CheckpointError, match=r"cannot be a file.s name|not answer as the hub"):
        get()
    assert everything(tmp_path) == set()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"rfilename": "config.json", "size": 1}, "twice"),
        ({"rfilename": "Config.JSON", "size": 1}, "in other letters"),
        ({"rfilename": "a", "size": -1}, "does not answer as the hub"),
        ({"rfilename": "a", "size": 1 << 70}, "does not answer as the hub"),
        ({"rfilename": "a", "size": True}, "does not answer as the hub"),
        ({"rfilename": "a", "size": 1, "lfs": {"sha256": "0" * 63 + "/"}}, "does not answer"),
        ({"rfilename": "a", "size": 1, "lfs": 5}, "does not answer as the hub"),
        ("a", "does not answer as the hub"),
    ],
)
def test_a_listing_that_cannot_be_is_refused(
    hub: FakeHub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: Any, said: str
) -> None:
    listing = hub.listing()
    listing["siblings"].append(entry)
    monkeypatch.setattr(hub, "listing", lambda: listing)
    with pytest.raises(CheckpointError, match=said):
        get()
    assert everything(tmp_path) == set()


def test_other_files_that_differ_in_case_do_not_matter(hub: FakeHub, get: Get) -> None:
    hub.files |= {"README.md": b"r", "readme.md": b"r"}
    assert (get().directory / "vocab.txt").exists()


def test_a_damaged_small_file_is_refused(hub: FakeHub, get: Get) -> None:
    hub.hostile["config.json"] = answering(FILES["config.json"][::-1])
    with pytest.raises(CheckpointError, match=r"config\.json, 8 bytes, arrived damaged"):
        get()

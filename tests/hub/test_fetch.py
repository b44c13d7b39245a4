"""Fetching from a local fake hub: normal, faulty and interrupted transfers."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.hub.choose import choose_files
from cpm_lm.hub.fetch import KNOWN, Fetched, fetch, full_name
from cpm_lm.hub.listing import RemoteFile
from tests.support.fake_hub import COMMIT, FakeHub, serving

NAME = "owner/tiny"
MODEL = bytes(range(256)) * 1200
SHA = hashlib.sha256(MODEL).hexdigest()
SMALL = {"config.json": b"{}", "vocab.txt": b"x\n"}
BESIDES = {"README.md": b"r" * 2000, "flax_model.msgpack": b"f" * 2000, "onnx/model.onnx": b"o"}

Get = Callable[..., Fetched]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files=SMALL | BESIDES | {"model.safetensors": MODEL})) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url + "/")
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield served


@pytest.fixture
def get(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Get:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: real(min(seconds, 0.01)))  # between retries
    return lambda **options: fetch(NAME, cache=tmp_path / "cache", **options)


def blobs(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.rglob("blobs/*")}


def part(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models--owner--tiny" / "blobs" / f"{SHA}.cpm.incomplete"


def test_only_needed_files_are_fetched(hub: FakeHub, get: Get, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    found = get(progress=lambda done, total: reported.append((done, total)))
    assert {path.name: path.read_bytes() for path in found.directory.iterdir()} == {
        **SMALL,
        "model.safetensors": MODEL,
    }
    assert (found.name, found.commit) == (NAME, COMMIT)
    assert found.bytes == sum(map(len, (*SMALL.values(), MODEL)))
    assert reported[-1] == (found.bytes, found.bytes)
    assert all(total == found.bytes for _, total in reported)
    for name in BESIDES:
        assert not hub.requested("GET", name)


def test_nothing_is_fetched_twice(hub: FakeHub, get: Get) -> None:
    first = get()
    hub.requests.clear()
    reported: list[tuple[int, int]] = []
    assert get(progress=lambda *numbers: reported.append(numbers)) == first
    assert [path for _, path, _ in hub.requests] == [f"/api/models/{NAME}/revision/main?blobs=true"]
    assert reported[-1] == (first.bytes, first.bytes)


def test_huggingface_hub_finds_the_fetched_files(hub: FakeHub, get: Get, tmp_path: Path) -> None:
    from huggingface_hub import hf_hub_download

    found = get()
    hub.requests.clear()
    options: dict[str, Any] = {"revision": COMMIT, "cache_dir": tmp_path / "cache"}
    path = hf_hub_download(NAME, "model.safetensors", endpoint=hub.url, **options)
    assert Path(path) == found.directory / "model.safetensors"
    assert hub.requests == []


def test_no_telemetry_is_sent_and_the_cdn_gets_no_token(hub: FakeHub, get: Get) -> None:
    get()
    for method, path, headers in hub.requests:
        assert method in ("GET", "HEAD")
        assert path.startswith(("/api/models/", "/owner/tiny/resolve/", "cdn/blob/"))
        agent = headers["user-agent"]
        assert [word.split("/")[0] for word in agent.split("; ")] == ["cpm-lm", "hf_hub", "python"]
        assert ("authorization" in headers) == (not path.startswith("cdn"))
    assert hub.requested("GET", "cdn/blob")


def test_the_settings_of_huggingface_hub_are_not_changed(
    get: Get, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    quiet = are_progress_bars_disabled()
    get()
    assert constants.HF_HUB_DISABLE_TELEMETRY is False
    assert are_progress_bars_disabled() == quiet


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_connection_is_resumed_in_the_same_call(
    hub: FakeHub, get: Get, ranges: bool
) -> None:
    hub.break_after, hub.ranges = 100_000, ranges
    reported: list[int] = []
    found = get(progress=lambda done, total: reported.append(done))
    assert (found.directory / "model.safetensors").read_bytes() == MODEL
    assert reported[-1] == found.bytes
    ranges_sent = [headers.get("range") for headers in hub.requested("GET", "cdn/blob")]
    assert ranges_sent[0] is None
    assert len(ranges_sent) == 2
    assert str(ranges_sent[1]).startswith("bytes=")


FETCH = """
import sys
from pathlib import Path
from huggingface_hub import constants
from cpm_lm.hub.fetch import fetch
constants.DOWNLOAD_CHUNK_SIZE = 10_000  # instead of 10 MiB
fetch("owner/tiny", cache=Path(sys.argv[1]))
"""


@contextmanager
def fetching(tmp_path: Path, size: int) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that fetches the model and has `size` bytes of it."""
    command = [sys.executable, "-c", FETCH, str(tmp_path / "cache")]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(3000):
                if part(tmp_path).exists() and part(tmp_path).stat().st_size >= size:
                    break
                threading.Event().wait(0.01)
            else:
                pytest.fail("it did not begin")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_fetch_is_resumed(
    hub: FakeHub, get: Get, tmp_path: Path, how: signal.Signals
) -> None:
    """Version 2 of huggingface_hub deletes the partial file; this package must keep it."""
    hub.stall, hub.break_after = threading.Event(), 200_000
    with fetching(tmp_path, 100_000) as process:
        process.send_signal(how)
        process.wait(30)
    hub.stall.set()
    have = part(tmp_path).stat().st_size
    assert 0 < have < len(MODEL)
    assert SHA not in blobs(tmp_path)
    hub.requests.clear()
    found = get()
    assert [headers["range"] for headers in hub.requested("GET", "cdn/blob")] == [f"bytes={have}-"]
    assert (found.directory / "model.safetensors").read_bytes() == MODEL
    assert not part(tmp_path).exists()


def test_a_second_process_is_refused_while_one_fetches(
    hub: FakeHub, get: Get, tmp_path: Path
) -> None:
    hub.stall, hub.break_after = threading.Event(), 100_000
    with fetching(tmp_path, 1) as process:
        with pytest.raises(CheckpointError, match="another process is fetching"):
            get()
        hub.stall.set()
        assert process.wait(30) == 0
    assert (get().directory / "model.safetensors").read_bytes() == MODEL


def test_a_damaged_file_is_deleted(hub: FakeHub, get: Get, tmp_path: Path) -> None:
    hub.damaged = True
    with pytest.raises(CheckpointError, match="arrived damaged"):
        get()
    assert not any(SHA in name for name in blobs(tmp_path))
    hub.damaged = False
    assert (get().directory / "model.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize("size", [1000, len(MODEL) + 5])
def test_a_partial_file_of_another_model_is_replaced(
    hub: FakeHub, get: Get, tmp_path: Path, size: int
) -> None:
    part(tmp_path).parent.mkdir(parents=True)
    part(tmp_path).write_bytes(b"?" * size)
    if size < len(MODEL):  # it is resumed, and the digest does not match
        with pytest.raises(CheckpointError, match="arrived damaged"):
            get()
    assert (get().directory / "model.safetensors").read_bytes() == MODEL


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (404, "RepoNotFound", "has no public model owner/tiny"),
        (401, None, "has no public model owner/tiny: check the name, or set HF_TOKEN"),
        (403, None, "has no public model"),
        (403, "GatedRepo", "is gated: accept its terms"),
        (404, "RevisionNotFound", "no such revision"),
        (500, None, "status 500"),
        (429, None, "status 429"),
    ],
)
def test_http_errors_say_what_to_do(
    hub: FakeHub, get: Get, status: int, error: str | None, said: str
) -> None:
    hub.status, hub.error = status, error
    with pytest.raises(CheckpointError, match=said):
        get()


def test_a_missing_revision_is_an_error(get: Get) -> None:
    with pytest.raises(CheckpointError, match="no such revision"):
        get(revision="v9")
    assert get(revision=COMMIT).commit == COMMIT


@pytest.mark.parametrize("page", [b"<html>log in</html>", b"[]", b'{"id": 3}', b"null"])
def test_a_server_that_is_not_a_hub_is_an_error(hub: FakeHub, get: Get, page: bytes) -> None:
    hub.page = page
    with pytest.raises(CheckpointError, match="does not answer as the hub does"):
        get()


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda listing: listing.update(sha="../../../../tmp/x"),
        lambda listing: listing.update(sha=None),
        lambda listing: listing["siblings"][-1]["lfs"].update(sha256="../../x"),
    ],
)
def test_a_malicious_listing_is_refused(
    hub: FakeHub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corrupt: Any
) -> None:
    listing = hub.listing()
    corrupt(listing)
    monkeypatch.setattr(hub, "listing", lambda: listing)
    with pytest.raises(CheckpointError, match="does not answer as the hub does"):
        get()
    assert not list(tmp_path.rglob("*"))


def test_an_unreachable_hub_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: FakeHub
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match=r"could not be reached.*check HF_ENDPOINT"):
        fetch(NAME, cache=tmp_path)
    monkeypatch.setattr("cpm_lm.hub.client.OFFICIAL", "http://127.0.0.1:9")
    monkeypatch.delenv("HF_ENDPOINT")
    with pytest.raises(CheckpointError, match=r"could not be reached.*HF_ENDPOINT=https://"):
        fetch(NAME, cache=tmp_path)


def test_offline_mode_is_an_error(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set"):
        get()


def test_too_little_disk_space_is_refused_at_the_start(
    hub: FakeHub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = len(MODEL) * 3 // 2
    fake = type("Usage", (), {"free": free})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: fake)
    with pytest.raises(CheckpointError, match=rf"{free:,} bytes free, [\d,]+ are needed"):
        get(reserve=lambda size: (tmp_path / "out", size))  # both on one disk
    assert not hub.requested("GET", "resolve")
    sizes: list[int] = []

    def reserve(size: int) -> tuple[Path, int]:
        sizes.append(size)
        return tmp_path / "out", 0

    get(reserve=reserve)
    assert sizes == [len(MODEL)]


def test_a_full_disk_keeps_the_partial_file(
    hub: FakeHub, get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from cpm_lm.hub.transfer import ProgressFile

    real, written = ProgressFile.write, [0]

    def full(self: ProgressFile, data: bytes) -> int:
        written[0] += len(data)
        if written[0] > 150_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    hub.break_after = 100_000  # so that the file is written in several parts
    monkeypatch.setattr(ProgressFile, "write", full)
    with pytest.raises(CheckpointError, match="the disk is full"):
        get()
    monkeypatch.setattr(ProgressFile, "write", real)
    get()


def files(*names: str) -> list[RemoteFile]:
    return [RemoteFile(name, 5000, "0" * 64) for name in names]


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin", "tf_model.h5"], ["model.safetensors"]),
        (["pytorch_model.bin", "tf_model.h5"], ["pytorch_model.bin"]),
        (["tf_model.h5"], ["tf_model.h5"]),
        (
            [
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
                "pytorch_model.bin",
            ],
            [
                "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors",
                "model.safetensors.index.json",
            ],
        ),
        (
            ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "tf_model.h5"],
            ["tf_model.h5"],
        ),
        (["model.safetensors.index.json", "pytorch_model.bin"], ["pytorch_model.bin"]),
    ],
)
def test_one_format_of_the_weights_is_chosen(there: list[str], chosen: list[str]) -> None:
    found = choose_files(
        NAME, files(*there, "config.json", "spiece.model", "rust_model.ot", "a/vocab.txt")
    )
    assert [file.name for file in found] == sorted([*chosen, "config.json", "spiece.model"])


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (["config.json", "flax_model.msgpack"], r"no weights.*found config\.json, flax_model"),
        (["model.safetensors"], r"no config\.json"),
        ([], "found nothing"),
    ],
)
def test_unreadable_formats_are_not_fetched(there: list[str], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        choose_files(NAME, files(*there))


def test_short_and_full_names() -> None:
    for known in KNOWN:
        assert full_name(known) == known
        assert full_name(known.split("/")[1].upper()) == known
    assert full_name("someone/some.model-1") == "someone/some.model-1"
    for wrong in ("", "gpt", "a/b/c", "../x", "a/..", "https://huggingface.co/a/b", "a /b"):
        with pytest.raises(ConfigError, match="TsinghuaAI/CPM-Generate"):
            full_name(wrong)

"""The cache on this machine: links, FIFOs, other users' files, and the layout all tools share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpm_lm.errors import CheckpointError
from cpm_lm.hub.fetch import Fetched, fetch
from cpm_lm.hub.listing import RemoteFile
from cpm_lm.hub.transfer import partial_name
from tests.support.fake_hub import COMMIT, FakeHub, serving

MODEL = bytes(range(256)) * 40
FILES = {"config.json": b'{"n": 1}', "vocab.txt": b"x\n", "model.safetensors": MODEL}

Get = Callable[[], Fetched]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serving(FakeHub(files=dict(FILES))) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        yield served


@pytest.fixture
def get(hub: FakeHub, tmp_path: Path) -> Get:
    return lambda: fetch("owner/tiny", cache=tmp_path / "cache")


posix = pytest.mark.skipif(os.name != "posix", reason="links and FIFOs")


@posix
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("kind", ["link", "dangling", "fifo", "hard link", "directory", "other's"])
def test_a_partial_file_that_is_not_ours_is_not_followed(
    hub: FakeHub, get: Get, tmp_path: Path, file: str, kind: str
) -> None:
    data = FILES[file]
    entry = hub._sibling(file, data)
    sha = entry.get("lfs", {}).get("sha256")
    name = partial_name(COMMIT, RemoteFile(file, len(data), sha))
    part = tmp_path / "cache" / "models--owner--tiny" / "blobs" / name
    part.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("dear")
    if kind == "other's":
        if os.geteuid() != 0:
            pytest.skip("only root can make another user's file")
        part.write_text("dear")
        os.chown(part, 12345, 12345)
        victim = part
    elif kind == "fifo":
        os.mkfifo(part)
    elif kind == "directory":
        part.mkdir()
    elif kind == "hard link":
        part.hardlink_to(victim)
    else:
        part.symlink_to(victim if kind == "link" else tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="not a file that this program wrote; remove it"):
        get()
    assert victim.read_text() == "dear"
    assert not (tmp_path / "nothing").exists()


@posix
@pytest.mark.parametrize("which", ["blobs", "snapshots", f"snapshots/{COMMIT}"])
def test_a_directory_of_the_cache_that_is_a_link_is_not_followed(
    get: Get, tmp_path: Path, which: str
) -> None:
    (tmp_path / "outside").mkdir()
    link = tmp_path / "cache" / "models--owner--tiny" / which
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "outside")
    with pytest.raises(CheckpointError, match="is not a directory of the cache"):
        get()
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_link_whose_blob_was_removed_is_made_again(get: Get) -> None:
    found = get()
    for blob in (found.directory.parents[1] / "blobs").iterdir():
        blob.unlink()
    assert {p.name: p.read_bytes() for p in get().directory.iterdir()} == FILES


def test_the_blob_of_a_small_file_has_gits_name_as_in_the_clients_cache(get: Get) -> None:
    data = FILES["config.json"]
    found = get().directory / "config.json"
    assert found.resolve().name == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def test_the_client_and_this_package_fetch_nothing_that_the_other_has(
    hub: FakeHub, get: Get, tmp_path: Path
) -> None:
    from huggingface_hub import hf_hub_download

    def client(cache: str) -> None:
        for name in FILES:
            hf_hub_download("owner/tiny", name, endpoint=hub.url, cache_dir=tmp_path / cache)

    get()
    hub.requests.clear()
    client("cache")  # of the branch, so that it asks for the ETag
    assert hub.requested("HEAD", "config.json")
    assert not hub.requested("GET", "resolve")
    client("other")
    hub.requests.clear()
    found = fetch("owner/tiny", cache=tmp_path / "other")
    assert {path.name: path.read_bytes() for path in found.directory.iterdir()} == FILES
    assert not hub.requested("GET", "resolve")

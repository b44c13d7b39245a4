"""Files that are no regular files: a verdict at once."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpm_lm.checkpoints.containers.opened import map_file, open_regular, read_limited
from cpm_lm.errors import CheckpointError
from cpm_lm.messages import what_is_there


@pytest.fixture(autouse=True)
def alarm() -> Iterator[None]:
    """End a test that waits for the other end of a pipe."""

    def late(*_: object) -> None:
        raise TimeoutError("the file was waited for")

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 5)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def link_to_a_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("p"))
    path.symlink_to("p")


def listening(path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.close()


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "is a named pipe; expected a regular file"),
    "link to a pipe": (link_to_a_pipe, "is a named pipe; expected a regular file"),
    "directory": (Path.mkdir, "is a directory; expected a regular file"),
    "socket": (listening, "is a socket; expected a regular file"),
    "device": (lambda p: p.symlink_to("/dev/zero"), "is a device; expected a regular file"),
    "missing": (lambda _: None, "cannot be read: No such file or directory"),
    "dangling link": (lambda p: p.symlink_to("x"), "cannot be read: No such file or directory"),
    "link to itself": (lambda p: p.symlink_to(p.name), "cannot be read: Too many levels of"),
    "empty": (Path.touch, "is empty; download it again"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_file_with_content_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A pipe in place of a shard used to hang every verb."""
    monkeypatch.chdir(tmp_path)  # the path of a socket may have 107 bytes
    path = Path("f")
    make, expected = OTHERS[kind]
    make(path)
    with pytest.raises(CheckpointError, match=f"^f {expected}"):
        map_file(path)
    if kind != "empty":
        with pytest.raises(CheckpointError, match=f"^f {expected}"):
            read_limited(path, 100)
    assert what_is_there(path) is None


def test_a_pipe_put_there_after_the_check_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regular, pipe = tmp_path / "f", tmp_path / "p"
    regular.write_bytes(b"x")
    os.mkfifo(pipe)
    found = regular.stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: found)
    before = len(list(Path("/proc/self/fd").iterdir()))
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="named pipe"):
        open_regular(pipe)
    assert time.monotonic() - start < 1
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    for name, expected in (("a\0b", "not a valid file name"), ("a" * 300, "File name too long")):
        with pytest.raises(CheckpointError, match=expected):
            map_file(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    (tmp_path / "f").chmod(0)
    with pytest.raises(CheckpointError, match="Permission denied"):
        map_file(tmp_path / "f")


def test_files_and_links_to_them_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"weights")
    (tmp_path / "link").symlink_to("f")
    for name in ("f", "link"):
        mapped = map_file(tmp_path / name)
        assert isinstance(mapped, mmap.mmap)
        assert mapped[:] == b"weights"
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"weights"


def test_a_small_file_that_is_too_large(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(101))
    assert len(read_limited(tmp_path / "f", 101)) == 101
    with pytest.raises(CheckpointError, match="larger than 100 bytes"):
        read_limited(tmp_path / "f", 100)

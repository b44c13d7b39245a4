"""What the fault injector runs: every kind of writing of this package, small."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from cpm_lm.checkpoints import staging
from cpm_lm.checkpoints.staging import staged, staged_file
from cpm_lm.hub.cache import ModelCache
from cpm_lm.hub.listing import RemoteFile
from cpm_lm.hub.transfer import ProgressFile, fetch_blob, partial_name
from cpm_lm.storage.directory import Directory
from cpm_lm.storage.files import replace_file
from cpm_lm.storage.replacing import put_back
from cpm_lm.storage.temporary import temporary_directory
from tests.support.faults import Scenario

OLD = {"config.json": "old", "model": "old" * 5}
NEW = {"config.json": "new", "model": "new" * 5, "below/part": "x"}


def write_tree(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)


def tree(directory: Path) -> dict[str, str]:
    return {
        path.relative_to(directory).as_posix(): path.read_text()
        for path in directory.rglob("*")
        if path.is_file()
    }


def make_old(home: Path) -> None:
    (home / "store").mkdir()
    write_tree(home / "store", OLD)
    (home / "store" / "link").symlink_to(home / "outside")  # replacing must not follow it


def stage(home: Path) -> None:
    with staged(home / "store", overwrite=True, replaceable=lambda _: True) as work:
        write_tree(work, NEW)


def stage_without_exchange(home: Path) -> None:
    vars(staging)["exchange"] = lambda *_: False  # as on a system without it
    stage(home)


def is_new_store(home: Path) -> bool:
    return tree(home / "store") == NEW


new_directory = Scenario(
    prepare=lambda _: None,
    act=stage,
    is_old=lambda home: not os.path.lexists(home / "store"),
    is_new=is_new_store,
    names=frozenset({"store"}),
)
replaced_directory = Scenario(
    prepare=make_old,
    act=stage,
    is_old=lambda home: (
        tree(home / "store") == OLD | {"link/letter": "dear"} or tree(home / "store") == OLD
    ),
    is_new=is_new_store,
    names=frozenset({"store"}),
)
replaced_by_two_renames = Scenario(
    prepare=make_old,
    act=stage_without_exchange,
    is_old=replaced_directory.is_old,
    is_new=is_new_store,
    names=frozenset({"store"}),
    repair=lambda home: put_back(home / "store"),
)


def stage_file(home: Path) -> None:
    with staged_file(home / "plot.svg", overwrite=(home / "plot.svg").exists()) as work:
        work.write_text("new")


def text(path: Path) -> str | None:
    return path.read_text() if os.path.lexists(path) else None


new_file = Scenario(
    prepare=lambda _: None,
    act=stage_file,
    is_old=lambda home: text(home / "plot.svg") is None,
    is_new=lambda home: text(home / "plot.svg") == "new",
    names=frozenset({"plot.svg"}),
)
replaced_file = Scenario(
    prepare=lambda home: write_tree(home, {"plot.svg": "old"}),
    act=stage_file,
    is_old=lambda home: text(home / "plot.svg") == "old",
    is_new=new_file.is_new,
    names=frozenset({"plot.svg"}),
)


def cache(home: Path) -> None:
    with Directory.open(home) as directory:
        replace_file(directory, "words", lambda file: file.writelines([b"new", b"new"]))


cached_file = Scenario(
    prepare=lambda home: write_tree(home, {"words": "oldold"}),
    act=cache,
    is_old=lambda home: text(home / "words") == "oldold",
    is_new=lambda home: text(home / "words") == "newnew",
    names=frozenset({"words"}),
)


def use_temporary(home: Path) -> None:
    tempfile.tempdir = str(home)
    with temporary_directory("cpm-test-") as work:
        write_tree(work, NEW)


temporary = Scenario(
    prepare=lambda _: None,
    act=use_temporary,
    is_old=lambda _: True,
    is_new=lambda _: True,
    names=frozenset(),
)


MODEL = b"weights" * 9
LARGE = RemoteFile("model.safetensors", len(MODEL), hashlib.sha256(MODEL).hexdigest())
SMALL = RemoteFile("config.json", 2, None)
CONTENT = {LARGE: MODEL, SMALL: b"{}"}
COMMIT = "0" * 40


def fetch_files(home: Path) -> None:
    """What `pull` does with a file, without a server."""
    model = ModelCache(home / "cache", "owner/tiny", COMMIT)
    for file, content in CONTENT.items():

        def transfer(target: ProgressFile, content: bytes = content) -> None:
            target.write(content[target.tell() :])

        if not model.has(file):
            with model.blobs() as blobs:
                part = partial_name(COMMIT, file)
                digest = fetch_blob(blobs, part, file, transfer, lambda _: None)
            model.link(file, digest)


def fetched(home: Path) -> dict[str, bytes]:
    directory = ModelCache(home / "cache", "owner/tiny", COMMIT).directory
    return {path.name: path.read_bytes() for path in directory.glob("*")}


fetched_files = Scenario(
    prepare=lambda _: None,
    act=fetch_files,
    is_old=lambda home: fetched(home).items() <= {f.name: c for f, c in CONTENT.items()}.items(),
    is_new=lambda home: (
        fetched(home) == {f.name: c for f, c in CONTENT.items()}
        and len(list(home.glob("cache/*/blobs/*"))) == len(CONTENT)
    ),
    names=frozenset({"cache"}),
)

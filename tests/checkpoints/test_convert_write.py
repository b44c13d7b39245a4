"""A store appears complete or not at all, and conversion takes little memory."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpm_lm.checkpoints import staging
from cpm_lm.checkpoints.config_file import read_config
from cpm_lm.checkpoints.containers import safetensors_file
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.known.releases import Release
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.source import open_source
from cpm_lm.choices import WeightFormat
from cpm_lm.errors import CheckpointError, TokenizerError
from cpm_lm.storage.directory import Directory
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.inspect import inspect
from cpm_lm.verification.verify import verify
from tests.support.make_shards import write_shards

HALFWAY = """
import sys, time
from cpm_lm.checkpoints.convert import convert
def progress(done, total):
    if done > total // 4:
        print("halfway", flush=True)
        time.sleep(600)
convert(sys.argv[1], sys.argv[2], heads=4, overwrite=len(sys.argv) > 3, progress=progress)
"""

SMALL_DISK = """
import resource, sys
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.source import open_source
from cpm_lm.errors import CheckpointError, TokenizerError
from cpm_lm.storage.directory import Directory
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.inspect import inspect
from cpm_lm.verification.verify import verify
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    convert(sys.argv[1], sys.argv[2], heads=4)
except CheckpointError as error:
    print(error)
"""

MEMORY = """
import sys, threading, time
from cpm_lm.checkpoints.convert import convert
def private():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, private())
convert(sys.argv[1], sys.argv[2] + "-small", heads=4)
before, peak, done = private(), 0, threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
convert(sys.argv[3], sys.argv[2], heads=4, weights=sys.argv[4])
done.set()
watcher.join()
print(peak - before)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "in")


def left(tmp_path: Path) -> set[str]:
    return {entry.name for entry in tmp_path.iterdir()} - {"in"}


def start_halfway(*arguments: Path | str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HALFWAY, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "halfway\n"
    return process


def killed_between_two_renames(store: Path) -> None:
    """Leave what a system without an atomic exchange has at that moment."""
    real = Directory.rename

    def rename(self: Directory, name: str, to: Directory, new: str) -> None:
        if name == staging.NEW:
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, name, to, new)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that the child does not have
        child = os.fork()
    if child == 0:
        vars(staging)["exchange"] = lambda *_: False
        Directory.rename = rename  # type: ignore[method-assign]
        try:
            with staging.staged(store, overwrite=True, replaceable=lambda _: True) as work:
                (work / "half").write_text("")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not store.exists()


def stop(process: subprocess.Popen[str], how: signal.Signals = signal.SIGKILL) -> None:
    process.send_signal(how)
    process.communicate()


def test_a_target_has_one_writer_and_the_files_of_a_killed_one_are_removed(
    tmp_path: Path, source: Path
) -> None:
    process = start_halfway(source, tmp_path / "store")
    try:
        with pytest.raises(CheckpointError, match="another process is writing"):
            convert(source, tmp_path / "store", heads=4)
        assert "store" not in left(tmp_path)
    finally:
        stop(process)
    assert "store" not in left(tmp_path)
    assert left(tmp_path)  # the temporary files of the killed process
    convert(source, tmp_path / "store", heads=4)
    assert left(tmp_path) == {"store"}
    Store.open(tmp_path / "store")


def test_a_kill_while_overwriting_keeps_the_old_store(tmp_path: Path, source: Path) -> None:
    convert(source, tmp_path / "store", heads=4, weights="f16")
    stop(start_halfway(source, tmp_path / "store", "overwrite"))
    assert Store.open(tmp_path / "store").weights == "f16"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_leaves_no_files(tmp_path: Path, source: Path) -> None:
    def progress(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "store", heads=4, progress=progress)
    assert left(tmp_path) == set()


def test_a_full_disk_leaves_no_files(tmp_path: Path, source: Path) -> None:
    command = [sys.executable, "-c", SMALL_DISK, str(source), str(tmp_path / "store")]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "File too large" in found.stdout
    assert str(tmp_path / "store") in found.stdout
    assert found.stdout.count("\n") == 1
    assert left(tmp_path) == set()


def test_a_full_disk_keeps_the_old_store(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(source, tmp_path / "store", heads=4)
    before = (tmp_path / "store" / "model.safetensors").read_bytes()

    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(safetensors_file, "header_bytes", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        convert(source, tmp_path / "store", heads=4, weights="f16", overwrite=True)
    assert left(tmp_path) == {"store"}
    assert (tmp_path / "store" / "model.safetensors").read_bytes() == before


def test_too_little_disk_space_is_refused_at_the_start(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(CheckpointError, match=r"1,000 bytes free.*needs"):
        convert(source, tmp_path / "store", heads=4)
    assert left(tmp_path) == set()


def test_overwriting_must_be_requested(tmp_path: Path, source: Path) -> None:
    (tmp_path / "store").mkdir()  # an empty directory may be used
    convert(source, tmp_path / "store", heads=4)
    with pytest.raises(CheckpointError, match="exists already"):
        convert(source, tmp_path / "store", heads=4, weights="f16")
    assert Store.open(tmp_path / "store").weights == "f32"
    convert(source, tmp_path / "store", heads=4, weights="f16", overwrite=True)
    assert Store.open(tmp_path / "store").weights == "f16"
    convert(tmp_path / "store", tmp_path / "store", weights="bf16", overwrite=True)
    assert Store.open(tmp_path / "store").weights == "bf16"
    assert left(tmp_path) == {"store"}


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_only_a_store_is_overwritten(tmp_path: Path, source: Path, kind: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "letter.txt").write_text("dear")
    target = tmp_path / "target"
    if kind == "link":
        target.symlink_to(home)
    elif kind == "file":
        target.write_text("dear")
    else:
        target = home
    with pytest.raises(CheckpointError, match="not a converted model"):
        convert(source, target, heads=4, overwrite=True)
    assert (home / "letter.txt").read_text() == "dear"


def test_a_symlink_to_a_store_stays_a_symlink(tmp_path: Path, source: Path) -> None:
    convert(source, tmp_path / "store", heads=4)
    (tmp_path / "link").symlink_to(tmp_path / "store")
    convert(source, tmp_path / "link", heads=4, weights="f16", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert Store.open(tmp_path / "store").weights == "f16"


def test_a_target_that_contains_its_source_is_refused(tmp_path: Path, source: Path) -> None:
    """Replacing it would remove what was just read."""
    convert(source, tmp_path / "store", heads=4)
    inner = tmp_path / "store" / "inner"
    convert(tmp_path / "store", inner)
    with pytest.raises(CheckpointError, match=r"lies in .*choose another target"):
        convert(inner, tmp_path / "store", weights="f16", overwrite=True)
    Store.open(inner)
    convert(source, source / "below", heads=4)  # the source is not touched
    convert(source, tmp_path / "again", heads=4)
    assert Store.open(source / "below").weights == Store.open(tmp_path / "again").weights


def test_the_root_directory_is_refused(source: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be a store"):
        convert(source, "/", heads=4, overwrite=True)


def test_a_kill_between_the_two_renames_keeps_the_old_store(tmp_path: Path, source: Path) -> None:
    convert(source, tmp_path / "store", heads=4)
    killed_between_two_renames(tmp_path / "store")
    assert left(tmp_path) != {"store"}
    with pytest.raises(CheckpointError, match="exists already"):
        convert(source, tmp_path / "store", heads=4)
    Store.open(tmp_path / "store")
    assert left(tmp_path) == {"store"}


def load_tokenizer(store: Path) -> None:
    with pytest.raises(TokenizerError, match="no vocabulary"):  # it has none
        Tokenizer.load(store)


@pytest.mark.parametrize(
    "look",
    [
        Store.open,
        open_source,
        inspect,
        lambda path: open_source(path / "model.safetensors"),
        lambda path: verify(path, loss=False),
        lambda path: read_config(path / "config.json"),
        load_tokenizer,
        lambda path: convert(path, path.parent / "copy", weights="f16"),
    ],
)
def test_whoever_looks_next_puts_the_old_store_back(
    tmp_path: Path, source: Path, look: Callable[[Path], object]
) -> None:
    """Before, only the next conversion to the same place did; until then the store was missing."""
    convert(source, tmp_path / "store", heads=4)
    killed_between_two_renames(tmp_path / "store")
    look(tmp_path / "store")
    assert left(tmp_path) - {"copy"} == {"store"}


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, source: Path) -> None:
    (tmp_path / "file").write_text("")
    for below in ("store", "more/store"):
        with pytest.raises(CheckpointError, match="file is a file"):
            convert(source, tmp_path / "file" / below, heads=4)


def test_a_read_only_store_is_replaced_without_leftovers(tmp_path: Path, source: Path) -> None:
    convert(source, tmp_path / "store", heads=4)
    (tmp_path / "store").chmod(0o500)
    convert(source, tmp_path / "store", heads=4, overwrite=True)
    assert left(tmp_path) == {"store"}


def test_the_manifest_lists_the_files_read_and_written(tmp_path: Path, source: Path) -> None:
    manifest = convert(source, tmp_path / "store", heads=4, weights="bf16")
    assert json.loads((tmp_path / "store" / "manifest.json").read_text()) == json.loads(
        json.dumps(manifest.to_json())
    )
    for record in manifest.files:
        content = (tmp_path / "store" / record.name).read_bytes()
        assert record.bytes == len(content)
        assert record.sha256 == hashlib.sha256(content).hexdigest()
    for record in manifest.sources:
        content = (source / "500" / record.name).read_bytes()
        assert record.sha256 == hashlib.sha256(content).hexdigest()
    written = {file.name for file in (tmp_path / "store").iterdir()}
    assert written == {record.name for record in manifest.files} | {"manifest.json"}
    assert (manifest.layout, manifest.ranks, manifest.iteration) == ("deepspeed", 2, 500)
    assert manifest.weights == "bf16"
    assert manifest.parameters == Store.open(tmp_path / "store").config.parameter_count


def test_progress_ends_at_its_total(tmp_path: Path, source: Path) -> None:
    seen: list[tuple[int, int]] = []
    convert(source, tmp_path / "store", heads=4, progress=lambda *at: seen.append(at))
    assert seen == sorted(seen)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("weights", ["f16", "bf16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rounding_equals_pytorchs(
    tmp_path: Path, weights: WeightFormat, dtype: torch.dtype, any_layout: dict[str, Any]
) -> None:
    folder = write_shards(tmp_path / "in", dtype=dtype, **any_layout)
    convert(folder, tmp_path / "wide", heads=4)
    convert(folder, tmp_path / "narrow", heads=4, weights=weights)
    convert(tmp_path / "wide", tmp_path / "again", weights=weights)
    wide, narrow = Store.open(tmp_path / "wide"), Store.open(tmp_path / "narrow")
    kind = torch.float16 if weights == "f16" else torch.bfloat16
    for name in wide.names:
        expected = torch.tensor(wide.float32(name)).to(kind)
        assert np.array_equal(narrow.float32(name), expected.float().numpy())
    again = (tmp_path / "again" / "model.safetensors").read_bytes()
    assert again == (tmp_path / "narrow" / "model.safetensors").read_bytes()


@pytest.fixture(params=[{"zipped": False, "ranks": 1}, {"layout": "megatron", "ranks": 4}])
def any_layout(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.mark.parametrize("weights", ["f32", "bf16"])
def test_memory_stays_below_one_layer_of_a_big_model(
    tmp_path: Path, source: Path, weights: str
) -> None:
    # The store is written in blocks of fixed size. A layer of CPM-LM takes 315 MB; the bound is
    # far below that.
    big = write_shards(tmp_path / "big", width=768, layers=5, vocab=6000, positions=256)
    model = 4 * (12 * 768 * 768 * 5 + 6256 * 768)
    assert sum(file.stat().st_size for file in big.rglob("*.pt")) > model
    paths = map(str, (source, tmp_path / weights, big))
    command = [sys.executable, "-c", MEMORY, *paths, weights]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0 < int(found.stdout) < 48_000_000 < model / 3


def test_weights_of_a_known_release_keep_its_name(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A converted model was an unknown release even if its source was a known one.
    shards = sorted((checkpoints / "tiny-mp2").rglob("*.pt"))
    sha1, md5 = (
        tuple(hashlib.new(kind, shard.read_bytes()).hexdigest() for shard in shards)
        for kind in ("sha1", "md5")
    )
    release = Release("tiny, published", sha1, md5)
    monkeypatch.setattr("cpm_lm.checkpoints.known.releases.RELEASES", (release,))
    convert(checkpoints / "tiny-mp2", tmp_path / "narrow", heads=4)
    assert inspect(tmp_path / "narrow").origin is None  # not compared: not CPM-LM's width
    monkeypatch.setattr("cpm_lm.checkpoints.origin.LARGE_WIDTH", 64)
    assert convert(checkpoints / "tiny-mp2", tmp_path / "a", heads=4).origin == release.name
    assert convert(tmp_path / "a", tmp_path / "b", weights="q8").origin == release.name
    assert inspect(tmp_path / "b").origin == release.name
    assert convert(checkpoints / "tiny-mp4", tmp_path / "c", heads=4).origin is None

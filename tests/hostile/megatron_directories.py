"""Handmade directories of shards: names, kinds of files, what shards say of each other."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tests.hostile.harness import Case
from tests.hostile.torch_files import NAME, integer, model, shard, text, write_zip

__all__ = ["CASES"]

TRACKER = "latest_checkpointed_iteration.txt"
FILE = "model_optim_rng.pt"
Make = Callable[[Path], object]


def ranks(*numbers: str) -> Make:
    """Give copies of one shard these numbers."""

    def make(folder: Path) -> None:
        content = (shard(folder, b"N") / NAME).read_bytes()
        (folder / NAME).unlink()
        for number in numbers:
            (folder / f"mp_rank_{number}_model_states.pt").write_bytes(content)

    return make


def instead(make: Make, name: str = NAME) -> Make:
    """Put something in place of a file."""

    def put(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        make(path)

    return put


def listening(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket may have 107 bytes
    try:
        server = socket.socket(socket.AF_UNIX)
        server.bind(path.name)
        server.close()
    finally:
        os.chdir(here)


def tracker(content: bytes) -> Make:
    def make(folder: Path) -> None:
        (folder / "500").mkdir()
        shard(folder / "500", b"N")
        (folder / TRACKER).write_bytes(content)

    return make


def tracker_is(make: Make) -> Make:
    def put(folder: Path) -> None:
        (folder / "500").mkdir()
        shard(folder / "500", b"N")
        make(folder / TRACKER)

    return put


def both_layouts(folder: Path) -> None:
    shard(folder, b"N")
    (folder / "mp_rank_01").mkdir()
    (folder / NAME).with_name("mp_rank_01").joinpath(FILE).write_bytes(b"")


def claimed(name: str) -> Make:
    """Add a tensor of a name to the model."""

    def make(folder: Path) -> None:
        weights, storages = model()
        more = text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage")
        more += b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + integer(32)
        more += b"tQK\x00K\x01\x85K\x01\x85\x89Nt" + b"Rs"
        write_zip(folder / NAME, b"\x80\x02}" + text("module") + weights + more + b"s.", storages)

    return make


def many(count: int) -> Make:
    """Write shards that all are alike, and small."""
    return ranks(*map(str, range(count)))


def odd_names(folder: Path) -> None:
    for number in range(2000):
        (folder / f"{'x' * 200}{number}\x1b[31m\n").touch()


ROWS: list[tuple[str, Make, str | None]] = [
    ("one shard", ranks("00"), None),
    ("a large number", ranks("1000000000"), "lacks the shard of rank 0: found ranks 1000000000"),
    ("a larger number", ranks("00", "1000000000"), "lacks the shard of rank 1"),
    ("a number of 200 digits", ranks("00", "9" * 200), "lacks the shard of rank 1"),
    ("a gap", ranks("00", "02"), "lacks the shard of rank 1: found ranks 0, 2"),
    ("two spellings", ranks("00", "0"), "holds rank 0 twice"),
    ("three spellings", ranks("00", "0", "000", "1"), "holds rank 0 twice"),
    ("other digits", ranks("００"), None),
    ("no number", ranks("x"), "has no weights under"),
    ("a negative number", ranks("-1"), "has no weights under"),
    ("copies", ranks("0", "1"), "hold the same weights"),
    ("300 copies", many(300), "hold the same weights"),
    ("a pipe", instead(os.mkfifo), "is a named pipe; expected a regular file"),
    ("a directory", instead(Path.mkdir), "is a directory; expected a regular file"),
    ("a socket", instead(listening), "is a socket; expected a regular file"),
    ("a device", instead(lambda p: p.symlink_to("/dev/zero")), "is a device; expected a regular"),
    ("a terminal", instead(lambda p: p.symlink_to("/dev/tty")), "is a device; expected a regular"),
    ("a link to nothing", instead(lambda p: p.symlink_to("x")), "cannot be read: No such file"),
    ("a link to itself", instead(lambda p: p.symlink_to(NAME)), "Too many levels"),
    ("a file of the system", instead(lambda p: p.symlink_to("/proc/self/maps")), "is empty"),
    ("an empty file", instead(Path.touch), "is empty"),
    ("a pipe in the other layout", instead(os.mkfifo, f"mp_rank_00/{FILE}"), "holds no check"),
    ("a directory in the other layout", instead(Path.mkdir, f"mp_rank_00/{FILE}"), "no checkpoint"),
    ("an empty file in the other layout", instead(Path.touch, f"mp_rank_00/{FILE}"), "is empty"),
    ("both layouts", both_layouts, "shards of two layouts"),
    ("a step", tracker(b"500\n"), None),
    ("a step of 5,000 digits", tracker(b"5" * 5000), "is larger than 4,096 bytes"),
    ("a step of 4,000 digits", tracker(b"5" * 4000), "there is no directory"),
    ("a step of 50 MB", tracker(b"5" * 50_000_000), "is larger than 4,096 bytes"),
    ("a step that is a path", tracker(b"../500"), "expected a training step"),
    ("a step that is no text", tracker(b"\xff\xfe\x00"), "expected a training step"),
    ("a step of other digits", tracker("٥٠٠".encode()), "there is no directory"),
    ("a step of raised digits", tracker("\u00b2".encode()), "there is no directory"),
    ("no step", tracker(b""), "expected a training step"),
    ("a pipe for the step", tracker_is(os.mkfifo), None),
    ("a directory for the step", tracker_is(Path.mkdir), None),
    ("a device for the step", tracker_is(lambda p: p.symlink_to("/dev/zero")), None),
    ("9,999 layers", claimed("transformer.layers.9998.input_layernorm.bias"), "9,999 layers"),
    ("99 layers", claimed("transformer.layers.98.input_layernorm.bias"), "not one complete model"),
    ("a tensor of a long name", claimed("x" * 4000), "is not one complete model"),
    ("2,000 odd names", odd_names, "holds no checkpoint"),
]  # fmt: skip


def made(make: Make, folder: Path) -> Path:
    make(folder)
    return folder


CASES = [
    Case(name=name, make=functools.partial(made, make), error=error) for name, make, error in ROWS
]

"""HDF5 files with structures that Keras never writes, or that have no end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.hostile.harness import Case, Server, check
from tests.hostile.models import CONFIG, SHAPES

MAIN = "tfgpt2lm_head_model/transformer"


def keras_path(name: str) -> str:
    """Where Keras keeps a tensor."""
    path = name.replace(".", "/")
    if path.startswith("h/"):
        path = path.replace("h/", "h_._", 1)
    path = path.replace("ln_f/weight", "ln_f/gamma").replace("ln_f/bias", "ln_f/beta")
    for norm in ("ln_1", "ln_2"):
        path = path.replace(f"{norm}/weight", f"{norm}/gamma").replace(
            f"{norm}/bias", f"{norm}/beta"
        )
    return f"{MAIN}/{path}:0"


def case(name: str, change: Callable[[Any], object], error: str | None) -> Case:
    """A case of a sound file and one change."""

    def make(folder: Path) -> Path:
        (folder / "config.json").write_text(json.dumps(CONFIG))
        with h5py.File(folder / "tf_model.h5", "w", libver="latest") as file:
            for tensor, shape in SHAPES.items():
                values = np.zeros(shape, np.float32)
                is_bias = tensor.endswith(("c_attn.bias", "c_proj.bias", "c_fc.bias"))
                file[keras_path(tensor)] = values[None] if is_bias else values
            change(file)
        return folder

    return Case(name=name, make=make, error=error)


def raw(name: str, content: bytes, error: str) -> Case:
    def make(folder: Path) -> Path:
        (folder / "config.json").write_text(json.dumps(CONFIG))
        (folder / "tf_model.h5").write_bytes(content)
        return folder

    return Case(name=name, make=make, error=error)


def replaced(**how: Any) -> Callable[[Any], object]:
    """Put another dataset in place of the word embedding."""

    def change(file: Any) -> None:
        del file[keras_path("wte.weight")]
        file.create_dataset(keras_path("wte.weight"), **how)

    return change


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout(shape=(8, 4), dtype="f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", shape=(8, 4))
    del file[keras_path("wte.weight")]
    file.create_virtual_dataset(keras_path("wte.weight"), layout)


def cycle(file: Any) -> None:
    for i in range(300):
        file[f"{MAIN}/again{i}"] = file[MAIN]
    file[f"{MAIN}/top"] = file["/"]


def linked(link: Any) -> Callable[[Any], object]:
    def change(file: Any) -> None:
        del file[keras_path("wte.weight")]
        file[keras_path("wte.weight")] = link

    return change


def deep(levels: int) -> Callable[[Any], object]:
    def change(file: Any) -> None:
        group = file
        for _ in range(levels):
            group = group.create_group("g")

    return change


def wide(count: int) -> Callable[[Any], object]:
    def change(file: Any) -> None:
        for i in range(count):
            file.create_group(f"g{i}")

    return change


EXTERNAL = [("/etc/passwd", 0, h5py.h5f.UNLIMITED)]
CASES = [
    case("sound", lambda file: None, None),
    case("groups in a cycle", cycle, None),
    case("groups 2,000 deep", deep(2000), "groups within each other"),
    case("3,000 groups", wide(3000), None),
    case("an external link", linked(h5py.ExternalLink("/etc/passwd", "x")), "wte.weight is missing"),
    case("a soft link to itself", linked(h5py.SoftLink(f"/{keras_path('wte.weight')}")), "missing"),
    case("a soft link to nothing", linked(h5py.SoftLink("/none")), "wte.weight is missing"),
    case("a virtual dataset", virtual, "not contiguous"),
    case("values in another file", replaced(shape=(8, 4), dtype="f4", external=EXTERNAL), "not contig"),
    case("compressed", replaced(shape=(8, 4), dtype="f4", compression="gzip", chunks=(8, 4)), "not contig"),
    case("a bomb", replaced(shape=(2**40, 4), dtype="f4", compression="gzip", chunks=(1024, 4)), "not contig"),
    case("never written", replaced(shape=(2**40, 4), dtype="f4"), "not contiguous"),
    case("integers", replaced(data=np.zeros((8, 4), np.int32)), "of type <i4"),
    case("big-endian", replaced(data=np.zeros((8, 4), ">f4")), "of type >f4"),
    case("texts", replaced(data=np.array(["x"], dtype=h5py.string_dtype())), "of type"),
    case("a compound", replaced(data=np.zeros(4, [("a", "f4"), ("b", "f4")])), "of type"),
    case("nothing", replaced(data=h5py.Empty("f4")), ""),
    case("another shape", replaced(data=np.zeros((4, 8), np.float32)), "has shape (4, 8)"),
    case("a name of control characters", lambda file: file.create_dataset("\x1b[2J", data=np.zeros(1, np.float32)), "\\x1b[2J"),
    case("a name twice", lambda file: file.create_dataset("other/transformer/wpe/weight:0", data=np.zeros((4, 4), np.float32)), "twice"),
    case("9,999 layers", lambda file: file.create_dataset("h_._9999/ln_1/gamma", data=np.zeros(4, np.float32)), "not part of this model"),
    raw("empty", b"", "is empty"),
    raw("zeros", bytes(5000), "is damaged"),
    raw("the beginning alone", b"\x89HDF\r\n\x1a\n" + bytes(5000), "is damaged"),
    raw("a web page", b"<html>", "a web page"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hdf5(case: Case, server: Server, tmp_path: Path) -> None:
    check(server, case, tmp_path)

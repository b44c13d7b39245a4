"""Files of torch.save: valid, damaged and malicious."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.containers.unpickler import StridedTensor
from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.errors import CheckpointError

FORMATS = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


def refused(path: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_torch_file(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    for word in words:
        assert word in message


@pytest.mark.parametrize("zipped", [True, False])
def test_every_format_and_stride_is_read_in_place(tmp_path: Path, zipped: bool) -> None:
    base = torch.arange(24).reshape(4, 6)
    kinds = {str(dtype): base.to(dtype) for dtype in FORMATS}
    views = {
        "odd": torch.arange(3, dtype=torch.uint8),  # the next tensor is not aligned
        "turned": base.T,
        "part": base[1:3, 2:5],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(kinds | views, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    found = read_torch_file(tmp_path / "x.pt")
    for name, value in (kinds | views).items():
        tensor = found[name].tensor
        bits = value.detach()
        if bits.dtype == torch.bfloat16:
            assert tensor.dtype == "BF16"
            bits = bits.view(torch.uint16)
        assert tensor.array.dtype == DTYPES[tensor.dtype]
        assert np.array_equal(tensor.array, bits.numpy())
        if name != "empty":
            assert tensor.shape == tuple(value.shape)
            assert not tensor.array.flags.owndata


def test_numbers_are_not_copied(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1 << 22)}, tmp_path / "x.pt")
    tracemalloc.start()
    found = read_torch_file(tmp_path / "x.pt")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["w"].tensor.array.nbytes == 1 << 24
    assert peak < 1 << 20


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\n\n<html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x00\x01\x02\x03 noise", "something else"),
        (pickle.dumps({"module": {}}, 2), "not one of torch.save"),
        (b"\x80", "damaged or truncated"),
    ],
)
def test_a_file_of_another_kind_is_an_error_that_names_it(
    tmp_path: Path, content: bytes, word: str
) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    refused(tmp_path / "x.pt", word)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused(tmp_path / "x.pt", "cannot be read")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, zipped: bool, share: float) -> None:
    path = tmp_path / "x.pt"
    torch.save({"w": torch.zeros(5000)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "truncated")


class Call:
    """Is pickled as a call of any function, as in a malicious file."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write_zip(path: Path, root: object, storages: dict[str, bytes] | None = None) -> None:
    """Write what torch.save would, but with any object and any storages."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return obj.pid if isinstance(obj, FakeStorage) else None

    data = io.BytesIO()
    Pickler(data, protocol=2).dump(root)
    write_archive(path, data.getvalue(), storages)


def write_archive(path: Path, record: bytes, storages: dict[str, bytes] | None = None) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", record)
        archive.writestr("x/byteorder", "little")
        for key, content in (storages or {}).items():
            archive.writestr(f"x/data/{key}", content)


class FakeStorage:
    def __init__(self, *pid: Any) -> None:
        self.pid = pid


def fake_tensor(offset: Any, shape: Any, stride: Any, count: int = 16, key: str = "0") -> Call:
    storage = FakeStorage("storage", torch.FloatStorage, key, "cuda:7", count)
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, shape, stride, False, {})


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch owned",), "system"),
        (subprocess.Popen, (["touch", "owned"],), "Popen"),
        (eval, ("open('owned', 'w')",), "eval"),
        (getattr, ("", "join"), "getattr"),
        (torch.load, ("x",), "torch.serialization.load"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_any_other_global_is_refused_by_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    function: Any,
    arguments: tuple[Any, ...],
    name: str,
    zipped: bool,
) -> None:
    monkeypatch.chdir(tmp_path)
    root = {"module": {"w": torch.zeros(3)}, "lr": Call(function, *arguments)}
    torch.save(root, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    refused(tmp_path / "x.pt", name, "refused")
    assert not Path("owned").exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_globals_are_refused_in_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    write_archive(tmp_path / "x.pt", pickle.dumps(Call(os.system, "true"), protocol))
    refused(tmp_path / "x.pt", "system", "refused")


def test_build_cannot_change_the_replacement_classes(tmp_path: Path) -> None:
    # BUILD with a pair as its state sets attributes, on classes and functions too.
    for name in (b"collections\nOrderedDict", b"argparse\nNamespace", b"numpy\ndtype"):
        record = b"\x80\x02c" + name + b"\nN}X\x08\x00\x00\x00__call__K\x01s\x86b."
        write_archive(tmp_path / "x.pt", record)
        refused(tmp_path / "x.pt", "damaged")


HUGE = 1 << 60


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (17,), (1,)),
        (16, (1,), (1,)),
        (0, (4, 4), (5, 1)),
        (0, (4, 4), (1, 5)),
        (-1, (4,), (1,)),
        (4, (4,), (-1,)),
        (0, (-4,), (1,)),
        (0, (HUGE,), (0,)),
        (0, (HUGE, HUGE), (HUGE, HUGE)),
        (HUGE, (1,), (1,)),
        (0, (2,), (HUGE * HUGE,)),
        (0, (4, 4), (4,)),
        (0, (1,) * 40, (1,) * 40),
        (0.0, (1,), (1,)),
        (0, (True,), (1,)),
        (0, "ab", (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, offset: Any, shape: Any, stride: Any
) -> None:
    write_zip(tmp_path / "x.pt", [fake_tensor(offset, shape, stride)], {"0": bytes(64)})
    refused(tmp_path / "x.pt", "damaged")


@pytest.mark.parametrize(
    ("count", "key", "content"),
    [(17, "0", 64), (15, "0", 64), (HUGE, "0", 64), (16, "9", 64), (16, "../data.pkl", 64)],
)
def test_a_storage_that_is_missing_or_of_wrong_size_is_refused(
    tmp_path: Path, count: int, key: str, content: int
) -> None:
    write_zip(tmp_path / "x.pt", [fake_tensor(0, (1,), (1,), count, key)], {"0": bytes(content)})
    refused(tmp_path / "x.pt", "storage")


def test_tensors_that_disagree_about_a_storage_are_refused(tmp_path: Path) -> None:
    root = [fake_tensor(0, (1,), (1,)), fake_tensor(0, (1,), (1,), 32)]
    write_zip(tmp_path / "x.pt", root, {"0": bytes(64)})
    refused(tmp_path / "x.pt", "two accounts")


small = st.integers(0, 5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(offset=small, axes=st.lists(st.tuples(small, small), max_size=3))
def test_views_equal_pytorchs_or_are_refused(
    tmp_path: Path, offset: int, axes: list[tuple[int, int]]
) -> None:
    shape, stride = tuple(a for a, _ in axes), tuple(b for _, b in axes)
    values = torch.arange(16, dtype=torch.float32)
    content = {"0": values.numpy().tobytes()}
    write_zip(tmp_path / "x.pt", [fake_tensor(offset, shape, stride)], content)
    try:
        expected = torch.as_strided(values, shape, stride, offset)
    except RuntimeError:  # beyond the storage
        refused(tmp_path / "x.pt", "does not fit")
        return
    if expected.numel() > 16:
        refused(tmp_path / "x.pt", "does not fit")
    elif expected.numel():
        found = read_torch_file(tmp_path / "x.pt")[0].tensor
        assert np.array_equal(found.array, expected.numpy())


@pytest.mark.parametrize(
    "record",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # LONG_BINPUT: a memo of two billion entries
        b"\x80\x04\x8e" + (1 << 40).to_bytes(8, "little") + b"x.",  # BINBYTES8 of a terabyte
        b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x.",  # BYTEARRAY8 of a terabyte
        b"\x80\x02\x8b\xff\xff\xff\x7fx.",  # LONG4 of two gigabytes
        b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b"N.",  # FRAME of a terabyte
        b"\x80\x02\x82\x01.",  # EXT1
    ],
)
def test_huge_sizes_in_a_pickle_take_no_memory(tmp_path: Path, record: bytes) -> None:
    write_archive(tmp_path / "x.pt", record)
    tracemalloc.start()
    refused(tmp_path / "x.pt", "damaged")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(data=st.data(), zipped=st.booleans())
def test_a_damaged_file_is_our_error_or_reads(
    tmp_path: Path, data: st.DataObject, zipped: bool
) -> None:
    path = tmp_path / "x.pt"
    root = {"module": {"w": torch.zeros(3, 2).T, "b": torch.ones(1)}, "lr": np.zeros(2)}
    torch.save(root, path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read_torch_file(path)
    except CheckpointError as error:
        problem = str(error)
        assert problem.isprintable()
        return
    weights = found.get("module") if isinstance(found, dict) else None
    for value in weights.values() if isinstance(weights, dict) else ():
        if isinstance(value, StridedTensor):
            assert value.tensor.array.size <= 6


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
    refused(tmp_path / "x.pt", "compressed")


def test_other_archives_and_machines_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("notes.txt", "hello")
    refused(tmp_path / "x.pt", "notes.txt")
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
        archive.writestr("x/byteorder", "big")
    refused(tmp_path / "x.pt", "big-endian")

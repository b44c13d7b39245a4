"""Files of torch.save: valid, damaged and malicious."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import enum
import functools
import importlib
import io
import operator
import os
import pickle
import runpy
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpm_lm.checkpoints.containers.stand_ins import StridedTensor, class_of
from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.errors import CheckpointError
from tests.support.examples import examples

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
        (b"\x00\x01\x02\x03 noise", "of an unknown format"),
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


def marked(name: str) -> str:
    return f"open({name!r}, 'w').close()"


GADGETS: dict[str, tuple[Any, ...]] = {
    "posix.system": (os.system, "touch owned"),
    "subprocess.Popen": (subprocess.Popen, ["touch", "owned"]),
    "builtins.eval": (eval, marked("owned")),
    "builtins.exec": (exec, marked("owned")),
    "builtins.open": (open, "owned", "w"),
    "builtins.getattr": (getattr, "", "join"),
    "builtins.__import__": (__import__, "this"),
    "importlib.import_module": (importlib.import_module, "this"),
    "torch.serialization.load": (torch.load, "x"),
    "functools.partial": (functools.partial, os.system, "touch owned"),
    "operator.attrgetter": (operator.attrgetter, "system"),
    "runpy.run_path": (runpy.run_path, "x"),
}


class Marks:
    """Would leave a file if it were called, set up or put together again as pickle says."""

    def __init__(self) -> None:
        Path("owned").touch()

    def __reduce__(self) -> Any:
        return Marks, (), {"a": 1}, iter([1]), iter([("k", "v")])


@pytest.mark.parametrize("name", GADGETS)
@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_that_a_pickle_names_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, zipped: bool
) -> None:
    """Any object beside the weights used to refuse the file; now it is named, and not run."""
    monkeypatch.chdir(tmp_path)
    function, *arguments = GADGETS[name]
    chain = Call(getattr, Call(getattr, Call(__import__, "os"), "path"), "sep")
    root = {"module": {"w": torch.arange(3.0)}, "lr": Call(function, *arguments), "b": chain}
    torch.save(root, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    sys.modules.pop("this", None)
    named: list[str] = []
    found = read_torch_file(tmp_path / "x.pt", named.append)
    # Python 2's names, where a file of this protocol has them: commands.Popen for subprocess.Popen.
    last = {full.rsplit(".", 1)[1] for full in named}
    assert {name.rsplit(".", 1)[1], "getattr", "__import__"} <= last
    assert len(named) == len(set(named))
    assert class_of(found["lr"]).rsplit(".", 1)[1] == name.rsplit(".", 1)[1]
    assert not Path("owned").exists()
    assert "this" not in sys.modules
    assert found["module"]["w"].tensor.array.tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_no_pickle_protocol_runs_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    objects = [Call(os.system, "touch owned"), Marks(), Outer.Inner(), Color.RED, EasyDict(a=1)]
    Path("owned").unlink()
    for number, value in enumerate(objects):
        path = tmp_path / f"{number}.pt"
        write_archive(path, pickle.dumps({"a": value, "b": [value]}, protocol))
        found = read_torch_file(path)
        assert set(found) == {"a", "b"}
        assert not Path("owned").exists()


class Outer:
    class Inner:
        """A class in a class: older protocols find it by getattr, and make an object of it."""

        def __init__(self) -> None:
            self.loss_scale = 2**16


class Color(enum.Enum):
    RED = 1


class EasyDict(dict[str, int]):
    """Pickles as a class and entries that are put in one by one."""


@pytest.mark.parametrize(
    "opcode", [b"(cos\nsystem\nS'touch owned'\no.", b"(S'touch owned'\nios\nsystem\n."]
)
def test_older_opcodes_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opcode: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    write_archive(tmp_path / "x.pt", opcode)
    assert class_of(read_torch_file(tmp_path / "x.pt")) == "os.system"
    assert not Path("owned").exists()


def beside() -> dict[str, Any]:
    """Objects that training programs keep beside the weights."""
    tagged = torch.nn.Parameter(torch.ones(2))
    tagged.tensor_model_parallel = True
    return {
        "param_shapes": [{"w": torch.Size([2, 3])}],
        "loss_scaler": Outer.Inner(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2), "step": 3}}, "kind": Color.RED},
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "numpy": [np.float32(1.5), np.arange(3), np.random.get_state()],  # noqa: NPY002
        "args": argparse.Namespace(num_attention_heads=4, fp16=True, path=Path("x")),
        "when": dt.datetime(2020, 11, 1),
        "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        "complex": torch.ones(2, dtype=torch.complex64),
        "tagged": tagged,
        "set": {1, 2},
        "defaults": collections.defaultdict(list, w=torch.ones(3)),
    }


def newer() -> dict[str, Any]:
    """Objects that PyTorch writes into its newer container only: it cannot read them in another."""
    return {
        "storage": torch.ones(5).untyped_storage(),
        "odd": torch.arange(3).to(torch.uint16),
        "small": torch.ones(3).to(torch.float8_e4m3fn),
    }


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of what it will drop
@pytest.mark.parametrize("zipped", [True, False])
def test_objects_beside_the_weights_hide_no_tensor(tmp_path: Path, zipped: bool) -> None:
    """PyTorch is the judge: every tensor it reads is read here, with the same bits."""
    weights = {f"w{n}": torch.randn(3, 5).to(dtype) for n, dtype in enumerate(FORMATS)}
    root = beside() | {"module": weights} | (newer() if zipped else {})
    torch.save(root, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    theirs = torch.load(tmp_path / "x.pt", weights_only=False)
    named: list[str] = []
    found = read_torch_file(tmp_path / "x.pt", named.append)
    same = [(found["module"][name], theirs["module"][name]) for name in weights]
    same += [(found[name], theirs[name]) for name in ("complex", "tagged")]
    same += [(found[name], theirs[name]) for name in ("odd", "small") if zipped]
    same += [(found["defaults"]["w"], torch.ones(3))]
    same += [(found["optimizer"]["state"][0]["exp_avg"], torch.ones(2))]
    for ours, value in same:
        assert isinstance(ours, StridedTensor)
        assert ours.tensor.shape == tuple(value.shape)
        bits = value.detach().contiguous().view(torch.uint8).numpy().tobytes()
        assert ours.tensor.array.tobytes() == bits
    assert {"torch.Size", "torch.float16", "torch.device", "datetime.datetime"} <= set(named)
    assert class_of(found["sparse"]) == "torch._utils._rebuild_sparse_tensor"
    assert class_of(found["quantized"]) == "torch._utils._rebuild_qtensor"
    assert found["args"].values == {"num_attention_heads": 4}


def test_a_tensor_of_a_class_of_its_own_is_none(tmp_path: Path) -> None:
    """Its numbers may mean something else than they say."""

    torch.save({"w": torch.ones(2).as_subclass(Scaled)}, tmp_path / "x.pt")
    found = read_torch_file(tmp_path / "x.pt")["w"]
    assert not isinstance(found, StridedTensor)
    assert class_of(found).endswith("Scaled")


class Scaled(torch.Tensor):
    pass


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
    refused(tmp_path / "x.pt", "tensors disagree on the storage")


small = st.integers(0, 5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(150))
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

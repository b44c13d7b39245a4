from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.integrity import check_file, nonfinite_tensors, read_manifest
from cpm_lm.checkpoints.manifest import FileRecord
from cpm_lm.checkpoints.source import open_source
from cpm_lm.choices import WeightFormat
from cpm_lm.errors import CheckpointError
from tests.support.make_shards import write_shards


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    convert(write_shards(root / "in"), root / "store", heads=4)
    return root / "store"


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "store"))


def problems(store: Path) -> dict[str, str | None]:
    record = read_manifest(store)
    assert record is not None
    return {file.name: check_file(store, file).problem for file in record.files}


def test_a_new_store_matches_its_manifest(store: Path) -> None:
    names = ("config.json", "tokenizer_config.json", "model.safetensors")
    assert problems(store) == dict.fromkeys(names)


@pytest.mark.parametrize("at", [0, 700, -1])
def test_one_flipped_bit_is_found(store: Path, at: int) -> None:
    data = bytearray((store / "model.safetensors").read_bytes())
    data[at] ^= 1
    (store / "model.safetensors").write_bytes(data)
    assert "has changed" in str(problems(store)["model.safetensors"])


def test_truncated_and_missing_files_are_different_problems(store: Path) -> None:
    size = (store / "model.safetensors").stat().st_size
    with (store / "model.safetensors").open("rb+") as file:
        file.truncate(size - 1)
    (store / "config.json").unlink()
    (store / "config.json").mkdir()
    found = problems(store)
    assert f"{size - 1:,} bytes, {size:,} were written" in str(found["model.safetensors"])
    assert found["config.json"] is not None
    (store / "config.json").rmdir()
    assert "is missing" in str(problems(store)["config.json"])


def test_a_store_without_manifest_has_no_records(store: Path) -> None:
    (store / "manifest.json").unlink()
    assert read_manifest(store) is None


def record(**changes: Any) -> dict[str, Any]:
    return {"name": "config.json", "bytes": 1, "sha256": "0"} | changes


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        [],
        {},
        {"files": []},
        {"files": 3},
        {"files": ["config.json"]},
        *({"files": [record(name=n)]} for n in ("/etc/passwd", "../x", "a/../../x", 3, "a\nb")),
        {"files": [record(bytes=-1)]},
        {"files": [record(bytes="1")]},
        {"files": [record(sha256=None)]},
    ],
)
def test_a_damaged_manifest_is_an_error(store: Path, manifest: Any) -> None:
    data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    (store / "manifest.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"manifest\.json (is damaged|cannot be read)"):
        read_manifest(store)


def test_the_callback_counts_the_bytes_read(store: Path) -> None:
    read: list[int] = []
    found = read_manifest(store)
    assert found is not None
    for file in found.files:
        check_file(store, file, read.append)
    assert sum(read) == sum(file.bytes for file in found.files)
    assert check_file(store, FileRecord(name="x", bytes=1, sha256="")).problem is not None


@pytest.mark.parametrize("weights", ["f32", "f16", "bf16"])
def test_numbers_that_are_not_finite_are_counted(
    made: Path, tmp_path: Path, weights: WeightFormat
) -> None:
    convert(made, tmp_path / "store", weights=weights)
    assert nonfinite_tensors(open_source(tmp_path / "store")) == {}
    # The header has the tensor's offset; all bits of its first numbers are set, which is NaN.
    path = tmp_path / "store" / "model.safetensors"
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    at = start + header["h.1.mlp.c_fc.bias"]["data_offsets"][0]
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    count = 8 // np.dtype({"f32": "f4"}.get(weights, "f2")).itemsize
    assert nonfinite_tensors(open_source(tmp_path / "store")) == {"h.1.mlp.c_fc.bias": count}

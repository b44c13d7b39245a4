"""Opening a store: its tensors, and the files that are refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.store import Store, write_model
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.choices import WeightFormat
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError
from tests.support.make_shards import write_shards


@pytest.fixture
def store(tmp_path: Path) -> Path:
    convert(write_shards(tmp_path / "in"), tmp_path / "store", heads=4)
    return tmp_path / "store"


def test_tensors_are_mapped_views(store: Path) -> None:
    opened = Store.open(store)
    theirs = safetensors.numpy.load_file(store / "model.safetensors")
    assert set(opened.names) == set(theirs)
    assert opened.config.n_head == 4
    for name in opened.names:
        view = opened.tensor(name)
        assert np.array_equal(view, theirs[name])
        assert not view.flags.writeable
        assert not view.flags.owndata
        assert np.shares_memory(view, opened.float32(name))
    with pytest.raises(CheckpointError, match="no tensor 'wte'"):
        opened.tensor("wte")


def test_16_bit_tensors_are_read_as_float32(store: Path, tmp_path: Path) -> None:
    kinds: list[tuple[WeightFormat, Any]] = [("f16", np.float16), ("bf16", np.uint16)]
    for weights, dtype in kinds:
        convert(store, tmp_path / weights, weights=weights)
        opened = Store.open(tmp_path / weights)
        assert opened.weights == weights
        assert opened.tensor("wte.weight").dtype == dtype
        assert opened.float32("wte.weight").dtype == np.float32
        gap = np.abs(opened.float32("wte.weight") - Store.open(store).float32("wte.weight"))
        assert 0 < gap.max() < 0.02


def test_a_model_is_written_from_memory(tmp_path: Path) -> None:
    config = GPTConfig(vocab_size=5, n_positions=4, n_embd=4, n_layer=1, n_head=2)
    arrays = {
        name: np.full(shape, at, np.float32)
        for at, (name, shape) in enumerate(shapes(Dims.of(config)).items())
    }
    tensors = {name: ShardedTensor((Tensor(array, "F32"),)) for name, array in arrays.items()}
    write_model(tmp_path, config, tensors, "f32")
    opened = Store.open(tmp_path)
    assert opened.names == tuple(arrays)
    assert sum(opened.tensor(name).size for name in opened.names) == config.parameter_count
    for name, array in arrays.items():
        assert np.array_equal(opened.float32(name), array)


def edit_header(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    edit(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])


def swap(header: dict[str, Any], a: str, b: str) -> None:
    header[a]["data_offsets"], header[b]["data_offsets"] = (
        header[b]["data_offsets"],
        header[a]["data_offsets"],
    )


HEADERS: dict[str, Callable[[dict[str, Any]], object]] = {
    "beyond the end": lambda h: h["ln_f.bias"].update(data_offsets=[0, 1 << 60]),
    "backwards": lambda h: h["ln_f.bias"].update(data_offsets=[64, 0]),
    "overlapping": lambda h: h["ln_f.bias"].update(data_offsets=[0, 64]),
    "a hole": lambda h: h.pop("h.0.ln_1.bias"),
    "the last is missing": lambda h: h.pop("ln_f.bias"),
    "another shape": lambda h: h["ln_f.bias"].update(shape=[4, 4]),
    "a huge shape": lambda h: h["ln_f.bias"].update(shape=[1 << 40, 1 << 40]),
    "a negative shape": lambda h: h["ln_f.bias"].update(shape=[-4, -4]),
    "an unknown format": lambda h: h["ln_f.bias"].update(dtype="Q4"),
    "another format": lambda h: h["ln_f.bias"].update(dtype="I32"),
    "another name": lambda h: h.update(other=h.pop("ln_f.bias")),
    "no offsets": lambda h: h["ln_f.bias"].pop("data_offsets"),
    "no object": lambda h: h.update({"ln_f.bias": 3}),
    "text for numbers": lambda h: h["ln_f.bias"].update(data_offsets="ab"),
    "two changed places": lambda h: swap(h, "wte.weight", "wpe.weight"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_changed_header_is_refused(store: Path, case: str) -> None:
    edit_header(store / "model.safetensors", HEADERS[case])
    with pytest.raises(CheckpointError, match=r"model\.safetensors") as caught:
        Store.open(store)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 100, 5000, -1, -64])
def test_a_truncated_model_is_refused(store: Path, size: int) -> None:
    path = store / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        Store.open(store)


def test_a_model_with_trailing_bytes_is_refused(store: Path) -> None:
    path = store / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="expected"):
        Store.open(store)


def test_a_name_that_occurs_twice_is_refused(store: Path) -> None:
    path = store / "model.safetensors"
    content = path.read_bytes()
    assert b'"h.0.ln_1.bias"' in content
    path.write_bytes(content.replace(b'"h.0.ln_1.bias"', b'"h.0.ln_2.bias"', 1))
    with pytest.raises(CheckpointError, match="twice"):
        Store.open(store)


def test_a_configuration_that_does_not_match_is_refused_with_all_problems(store: Path) -> None:
    path = store / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"n_layer": 1, "vocab_size": 31}))
    with pytest.raises(CheckpointError) as caught:
        Store.open(store)
    shown = ("wte.weight has shape (32, 16)", "h.1.mlp.c_fc.bias is not part of this model")
    for part in (*shown, " and 3 more"):
        assert part in str(caught.value)
    path.write_text("[]")
    with pytest.raises(ConfigError, match="JSON object"):
        Store.open(store)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        Store.open(store)


def test_a_path_that_is_not_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        Store.open(tmp_path / "nowhere")
    (tmp_path / "weights").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="weights is a file"):
        Store.open(tmp_path / "weights")

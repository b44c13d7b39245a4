"""Matrices in 8 and 4 bits: round trip, error, and refused input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store, write_model
from cpm_lm.checkpoints.quantization.formats import (
    FORMATS,
    Q4,
    Q8,
    PackedFormat,
    PackedMatrix,
    pack_nibbles,
    unpack_nibbles,
)
from cpm_lm.checkpoints.quantization.round_to_nearest import quantize
from cpm_lm.checkpoints.source import open_source
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.choices import WeightFormat
from cpm_lm.engines.reference import ReferenceEngine
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.verification.inspect import inspect
from tests.support.examples import examples
from tests.support.make_shards import write_shards
from tests.support.random_models import random_tensors, shape

MATRIX = "h.1.mlp.c_proj.weight"


def written(folder: Path, weights: str, **changed: np.ndarray) -> dict[str, float]:
    """A random model of width 80, which is not a multiple of the group."""
    config = shape(n_embd=80, n_head=5)
    tensors = random_tensors(config) | changed
    joined = {name: ShardedTensor((Tensor(array, "F32"),)) for name, array in tensors.items()}
    folder.mkdir()
    return write_model(folder, config, joined, weights)


@given(st.integers(0, 2**32 - 1), st.sampled_from([Q8, Q4]))
def test_codes_are_the_nearest_and_scales_have_least_error(
    seed: int, packing: PackedFormat
) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.standard_t(3, (3, 2, packing.group)).astype(np.float32)
    numbers[0, 0] = 0
    codes, scales, lost = quantize(numbers, packing)
    assert packing.min_code <= codes.min() <= codes.max() <= packing.max_code
    wide = scales.astype(np.float32)[..., None]
    back = codes * wide
    assert scales[0, 0] == 0
    # Within half a step unless the code is clipped, and never of the wrong sign.
    inside = (codes > packing.min_code) & (codes < packing.max_code)
    assert (
        np.abs(back - numbers)[inside] <= 0.501 * np.broadcast_to(wide, codes.shape)[inside]
    ).all()
    assert (back * numbers >= 0).all()
    assert lost == pytest.approx(np.square(back - numbers).sum(), rel=1e-3)
    # The error is at most that of the scale without clipping; 8 bits use that scale.
    plain = (np.abs(numbers).max(axis=-1, keepdims=True) / packing.max_code).astype(np.float16)
    step = np.maximum(plain.astype(np.float32), 1e-9)
    whole = np.clip(np.rint(numbers / step), packing.min_code, packing.max_code) * step
    assert lost <= np.square(whole - numbers).sum() * 1.001
    assert packing.bits == 4 or np.array_equal(scales, plain[..., 0])


def test_two_4_bit_codes_are_packed_into_a_byte() -> None:
    codes = np.arange(32, dtype=np.int8).reshape(1, 1, 32) % 16 - 8
    codes[0, 0, 16:] = codes[0, 0, 15::-1]
    stored = pack_nibbles(codes)
    # Byte i: element i in the low bits, element i + 16 in the high bits.
    assert stored[0, 0, 0] == 0 | 15 << 4
    assert stored[0, 0, 15] == 15 | 0 << 4
    assert np.array_equal(unpack_nibbles(stored), codes)


@pytest.mark.parametrize("weights", FORMATS)
def test_a_packed_store_is_read_as_it_was_written(weights: str, tmp_path: Path) -> None:
    errors = written(tmp_path / "new", weights)
    store, tensors = Store.open(tmp_path / "new"), random_tensors(shape(n_embd=80, n_head=5))
    assert store.weights == weights
    for name, original in tensors.items():
        wide = store.float32(name)
        assert wide.shape == original.shape
        lost = float(np.linalg.norm(wide - original) / np.linalg.norm(original))
        assert lost == pytest.approx(errors.get(name, 0), rel=1e-4)
        packed = store.packed(name)
        assert (packed is not None) == (name in errors)
        if packed is not None:
            assert 0 < lost < (0.012 if packed.bits == 8 else 0.13)
            assert np.array_equal(np.concatenate(list(store.lazy(name).blocks())), wide)
            with pytest.raises(CheckpointError, match="bits and scales"):
                store.tensor(name)
    assert len(errors) == 1 + 4 * 2
    wte = store.packed("wte.weight")
    assert wte is not None
    assert wte.bits == 8  # in q4 as well


def test_safetensors_opens_the_file(tmp_path: Path) -> None:
    written(tmp_path / "new", "q4")
    theirs = safetensors.numpy.load_file(tmp_path / "new" / "model.safetensors")
    codes, scales = theirs[MATRIX], theirs[MATRIX + ".scales"]
    assert (codes.dtype, codes.shape) == (np.uint8, (80, 160))
    assert (scales.dtype, scales.shape) == (np.float16, (80, 10))
    # The formula of docs/conversion.md.
    groups = codes.reshape(80, 10, 16)
    numbers = np.concatenate([groups & 15, groups >> 4], axis=2).astype(np.float32) - 8
    wide = (numbers * scales.astype(np.float32)[:, :, None]).reshape(80, 320)
    assert np.array_equal(Store.open(tmp_path / "new").float32(MATRIX), wide.T)


@pytest.mark.parametrize("weights", FORMATS)
def test_every_source_is_packed_and_unpacked(weights: WeightFormat, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "in")
    direct = convert(shards, tmp_path / "direct", weights=weights, heads=4)
    convert(shards, tmp_path / "f32", heads=4)
    convert(tmp_path / "f32", tmp_path / "twice", weights=weights)
    model = "model.safetensors"
    assert (tmp_path / "direct" / model).read_bytes() == (tmp_path / "twice" / model).read_bytes()
    recorded = json.loads((tmp_path / "direct" / "manifest.json").read_text())
    assert recorded["errors"] == direct.errors
    assert recorded["weights"] == weights
    found = inspect(tmp_path / "direct")
    assert (found.weights, found.layout) == (weights, "store")
    sizes = {need.engine: need.weights for need in found.memory}
    assert sizes["native"] < sizes["reference"] == sizes["jax"]
    back = convert(tmp_path / "direct", tmp_path / "back", weights="f32")
    assert any(weights in note for note in back.notes)
    packed, wide = Store.open(tmp_path / "direct"), Store.open(tmp_path / "back")
    assert all(np.array_equal(packed.float32(n), wide.float32(n)) for n in packed.names)
    convert(tmp_path / "direct", tmp_path / "ranks", to="megatron", ranks=2)
    convert(tmp_path / "ranks", tmp_path / "again", heads=4)
    assert (tmp_path / "again" / model).read_bytes() == (tmp_path / "back" / model).read_bytes()
    (tmp_path / "direct" / "manifest.json").unlink()
    assert open_source(tmp_path / "direct").packed == weights


def test_only_a_store_can_have_packed_weights(tmp_path: Path) -> None:
    for to in ("huggingface", "megatron"):
        with pytest.raises(ConfigError, match=rf"weights is 'q4' with to='{to}'; expected.*bf16$"):
            convert(write_shards(tmp_path / to), tmp_path / "new", to=to, weights="q4", heads=4)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "1 numbers that are not finite"), (1e30, "too large for 1 float16 scales")],
)
@pytest.mark.parametrize("weights", FORMATS)
def test_numbers_that_cannot_be_packed_are_refused(
    value: float, words: str, weights: str, tmp_path: Path
) -> None:
    array = np.ones((320, 80), np.float32)
    array[5, 7] = value
    with pytest.raises(CheckpointError, match=f"{MATRIX} holds.*{words}"):
        written(tmp_path / "new", weights, **{MATRIX: array})


@pytest.mark.parametrize("weights", FORMATS)
def test_numbers_too_small_for_the_scales_are_refused(weights: str, tmp_path: Path) -> None:
    small = np.full((320, 80), 1e-8, np.float32)
    with pytest.raises(CheckpointError, match="too small for float16 scales"):
        written(tmp_path / "new", weights, **{MATRIX: small})
    # Subnormal scales are accepted, and a matrix of zeros stays zero.
    rng = np.random.default_rng(0)
    fine = (1e-3 * rng.standard_normal((320, 80))).astype(np.float32)
    errors = written(tmp_path / "b", "q8", **{MATRIX: fine, "h.0.mlp.c_proj.weight": 0 * fine})
    assert errors[MATRIX] < 0.02
    assert errors["h.0.mlp.c_proj.weight"] == 0


ONE: dict[str, Any] = {"weights": "q8", "group": 64}


@pytest.mark.parametrize(
    "said",
    [None, [], {}, "q8", {"weights": "q8"}, ONE | {"group": 32}, ONE | {"x": 1}],
)
def test_bad_quantization_settings_are_refused(said: Any, tmp_path: Path) -> None:
    written(tmp_path / "new", "q8")
    path = tmp_path / "new" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization": said}))
    with pytest.raises(CheckpointError, match="says quantization"):
        Store.open(tmp_path / "new")


@pytest.mark.parametrize("weights", FORMATS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-4, -0.0])
def test_corrupt_scales_are_refused(weights: str, bad: float, tmp_path: Path) -> None:
    written(tmp_path / "new", weights)
    scales = view(tmp_path / "new", MATRIX + ".scales")
    scales[-1, -1] = bad
    scales.flush()
    with pytest.raises(CheckpointError, match=r"c_proj.weight.scales holds .*finite numbers"):
        Store.open(tmp_path / "new")


@pytest.mark.parametrize(("weights", "name"), [("q8", MATRIX.replace("proj", "fc")),
                                               ("q4", "h.0.attn.c_attn.weight")])  # fmt: skip
def test_padding_must_be_zero(weights: str, name: str, tmp_path: Path) -> None:
    written(tmp_path / "new", weights)
    codes = view(tmp_path / "new", name)
    codes[3, -1] ^= 0x10
    codes.flush()
    with pytest.raises(CheckpointError, match=f"{name} has values in its padding"):
        Store.open(tmp_path / "new")


def view(directory: Path, name: str) -> Any:
    """A tensor of a file, to change in place."""
    path = directory / "model.safetensors"
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    entry = json.loads(content[8:start])[name]
    dtype = {"I8": np.int8, "U8": np.uint8, "F16": np.float16}[entry["dtype"]]
    return np.memmap(path, dtype, "r+", start + entry["data_offsets"][0], tuple(entry["shape"]))


@settings(max_examples=examples(150))
@given(st.data(), st.sampled_from(sorted(FORMATS)))
def test_damaged_files_are_refused_or_valid(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, weights: str
) -> None:
    """A file that opens has finite numbers in tensors of the right shapes."""
    folder = tmp_path_factory.mktemp("damaged", numbered=True) / "new"
    written(folder, weights)
    path = folder / data.draw(st.sampled_from(["model.safetensors", "config.json"]))
    content = bytearray(path.read_bytes())
    header = min(len(content), 8 + int.from_bytes(content[:8], "little"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.one_of(st.integers(0, 40), st.integers(0, header), st.integers(0, 10**6)))
        at %= max(1, len(content))
        kind = data.draw(st.sampled_from(["byte", "cut", "grow", "drop", "digit"]))
        if kind == "byte":
            content[at : at + 1] = bytes([data.draw(st.integers(0, 255))])
        elif kind == "cut":
            del content[at:]
        elif kind == "grow":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=8))
        elif kind == "drop":
            del content[at : at + data.draw(st.integers(1, 40))]
        else:
            content[at : at + 1] = str(data.draw(st.integers(0, 9))).encode()
    path.write_bytes(content)
    try:
        store = Store.open(folder)
    except (CheckpointError, ConfigError):
        return
    sizes = {name: array.shape for name, array in random_tensors(store.config).items()}
    for name in store.names:
        wide = store.float32(name)
        assert wide.shape == sizes[name]
        if store.packed(name) is not None:
            assert np.isfinite(wide).all()


@pytest.mark.parametrize("weights", FORMATS)
def test_dequantized_weights_are_those_of_the_engines(weights: str, tmp_path: Path) -> None:
    from cpm_lm.engines.select import open_engine

    written(tmp_path / "new", weights)
    store = Store.open(tmp_path / "new")
    known = ReferenceEngine(store.config, {name: store.float32(name) for name in store.names})
    opened = open_engine(tmp_path / "new", engine="reference")
    ids, parents = [3, 1, 4, 1, 5], [-1, -2, -3, -4, -5]
    first, second = (engine.session(8).extend(ids, parents)[1] for engine in (known, opened))
    assert np.array_equal(first, second)


def test_blocks_of_rows_equal_the_whole_matrix() -> None:
    rng = np.random.default_rng(0)
    codes, scales, _ = quantize(rng.standard_normal((7, 3, 32)).astype(np.float32), Q4)
    codes[:, 2, 16:] = 0
    packed = PackedMatrix(pack_nibbles(codes).reshape(7, 48), scales, Q4, (7, 80))
    whole = packed.dequantize(slice(None), slice(None))
    assert packed.padding_is_zero()
    assert np.array_equal(packed.dequantize(slice(2, 5), slice(1, None)), whole[2:5, 32:])
    assert np.array_equal(packed.dequantize(slice(2, 5), slice(1, 2)), whole[2:5, 32:64])

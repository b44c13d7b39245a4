"""Converted checkpoints against PyTorch, the original code and Hugging Face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cpm_lm.checkpoints.containers.stand_ins import StridedTensor
from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.choices import WeightFormat
from cpm_lm.engines.forest import chain
from cpm_lm.engines.reference import ReferenceEngine

HEADS = 4
SAME_WEIGHTS = ("tiny-mp1", "tiny-mp2", "tiny-mp4", "tiny-mp2-model_optim_rng")
SAME_FP16 = ("tiny-mp2-fp16", "tiny-mp2-fp16-cudatags-zip", "tiny-mp2-fp16-cudatags-legacy")
ALL = SAME_WEIGHTS + SAME_FP16


@pytest.fixture(scope="module")
def stores(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("stores")
    for name in ALL:
        convert(checkpoints / name, root / name, heads=HEADS)
    return {name: root / name for name in ALL}


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pt"))


@pytest.mark.parametrize("name", ALL)
def test_every_tensor_equals_what_pytorch_loads(checkpoints: Path, name: str) -> None:
    compared = 0
    for path in shard_files(checkpoints / name):
        theirs = torch.load(path, map_location="cpu", weights_only=False)
        ours = read_torch_file(path)
        for key, value in theirs.items():
            if isinstance(value, torch.Tensor):
                assert np.array_equal(ours[key].tensor.array, value.numpy())
        weights = theirs.get("module", theirs.get("model"))
        found = ours.get("module", ours.get("model"))
        assert list(found) == list(weights)
        for key, value in weights.items():
            assert isinstance(found[key], StridedTensor)
            assert found[key].tensor.array.dtype == value.numpy().dtype
            assert np.array_equal(found[key].tensor.array, value.numpy())
            assert not found[key].tensor.array.flags.writeable
            compared += 1
    assert compared == 40 * len(shard_files(checkpoints / name))


@pytest.mark.parametrize("names", [SAME_WEIGHTS, SAME_FP16])
def test_one_model_in_many_layouts_gives_one_file(
    stores: dict[str, Path], names: tuple[str, ...]
) -> None:
    for part in ("model.safetensors", "config.json"):
        assert len({(stores[name] / part).read_bytes() for name in names}) == 1


def logits(store: Store, rows: np.ndarray) -> np.ndarray:
    weights = {name: store.float32(name) for name in store.names}
    engine = ReferenceEngine(store.config, weights)
    results = []
    for row in rows:
        parents = chain(len(row))
        session = engine.session()
        results.append(session.extend(row.astype(np.int32), parents, list(range(len(row))))[1])
    return np.stack(results)


@pytest.mark.parametrize("name", ALL)
def test_logits_are_those_of_the_original(
    checkpoints: Path, stores: dict[str, Path], name: str
) -> None:
    reference = np.load(checkpoints / name / "reference.npz", allow_pickle=False)
    found = logits(Store.open(stores[name]), reference["input_ids"])
    assert np.abs(found - reference["logits"]).max() < 1e-4
    assert np.abs(found - reference["logits_erf_gelu"]).max() > 1e-4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("weights", ["f32", "f16", "bf16"])
def test_transformers_loads_a_store(
    checkpoints: Path, tmp_path: Path, weights: WeightFormat
) -> None:
    import transformers  # slow to import

    convert(checkpoints / "tiny-mp2", tmp_path / "store", heads=HEADS, weights=weights)
    model, loading = transformers.GPT2LMHeadModel.from_pretrained(
        tmp_path / "store", dtype=torch.float32, output_loading_info=True
    )
    assert not loading["unexpected_keys"]
    assert not loading["missing_keys"]
    ids = np.load(checkpoints / "tiny-mp2" / "reference.npz")["input_ids"]
    with torch.no_grad():
        theirs = model.eval()(torch.tensor(ids, dtype=torch.long)).logits.numpy()
    assert np.abs(logits(Store.open(tmp_path / "store"), ids) - theirs).max() < 1e-4

"""Written ranks equal those of the original's change_mp.py; torch.load(weights_only) reads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.megatron_sharding import check_ranks
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.source import open_source
from cpm_lm.choices import Layout, WeightFormat
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError
from tests.support.make_shards import write_shards


@pytest.mark.parametrize("source", ["tiny-mp1", "tiny-mp2", "tiny-mp2-model_optim_rng"])
@pytest.mark.parametrize(
    ("layout", "ranks", "expected"),
    [
        ("deepspeed", 1, "tiny-mp1"),
        ("deepspeed", 2, "tiny-mp2"),
        ("deepspeed", 4, "tiny-mp4"),
        ("megatron", 2, "tiny-mp2-model_optim_rng"),
    ],
)
def test_ranks_are_those_of_the_original(
    checkpoints: Path, tmp_path: Path, source: str, layout: Layout, ranks: int, expected: str
) -> None:
    out = tmp_path / "out"
    convert(checkpoints / source, out, to="megatron", heads=4, ranks=ranks, layout=layout)
    key = "module" if layout == "deepspeed" else "model"
    files = sorted(out.rglob("*.pt"))
    assert len(files) == ranks
    for file in files:
        theirs = torch.load(checkpoints / expected / file.relative_to(out), weights_only=False)
        ours = torch.load(file, weights_only=True)
        assert ours["iteration"] == theirs["iteration"] == 80000
        assert ours.keys() <= theirs.keys()
        assert ours.get("mp_world_size") == theirs.get("mp_world_size")
        assert list(ours[key]) == list(theirs[key])
        for name, tensor in theirs[key].items():
            assert ours[key][name].dtype == tensor.dtype
            assert torch.equal(ours[key][name], tensor)
            assert ours[key][name].is_contiguous()
    tracker = "latest_checkpointed_iteration.txt"
    step = (checkpoints / expected / tracker).read_text()
    assert (out / tracker).read_text().strip() == step.strip()


@pytest.mark.parametrize("weights", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_a_store_to_ranks_and_back_is_bit_exact(
    checkpoints: Path, tmp_path: Path, weights: WeightFormat, ranks: int
) -> None:
    convert(checkpoints / "tiny-mp2", tmp_path / "a", heads=4, weights=weights)
    convert(tmp_path / "a", tmp_path / "b", to="megatron", ranks=ranks, weights=weights)
    again = tmp_path / "b" / "config.json"
    convert(tmp_path / "b", tmp_path / "c", config=again, weights=weights)
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes()
    shard = next((tmp_path / "b").rglob("*.pt"))
    kinds = {tensor.dtype for tensor in torch.load(shard, weights_only=True)["module"].values()}
    wanted = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    assert kinds == {wanted[weights]}


def test_the_vocabulary_is_copied(tmp_path: Path) -> None:
    from cpm_lm.tokenizer import Tokenizer
    from tests.support.tiny_vocabulary import train

    vocabulary = train(tmp_path / "vocabulary", vocab_size=190, hard_vocab_limit=True)
    size = Tokenizer.load(vocabulary).vocab_size
    write_shards(tmp_path / "in", vocab=size)
    manifest = convert(
        tmp_path / "in", tmp_path / "out", to="megatron", ranks=2, heads=4, tokenizer=vocabulary
    )
    convert(tmp_path / "out", tmp_path / "store", heads=4)
    assert Store.open(tmp_path / "store").has_tokenizer
    written = {
        file.relative_to(tmp_path / "out").as_posix()
        for file in (tmp_path / "out").rglob("*")
        if file.is_file()
    }
    assert {file.name for file in manifest.files} == written - {"manifest.json"}


def test_an_impossible_number_of_ranks_is_refused_with_the_possible_ones(
    checkpoints: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"over 3 ranks; possible numbers are 1, 2, 4$"):
        convert(checkpoints / "tiny-mp2", tmp_path / "out", to="megatron", ranks=3, heads=4)
    assert not list(tmp_path.iterdir())


@given(st.integers(1, 8), st.integers(1, 40), st.integers(1, 9))
def test_the_ranks_that_the_error_names_are_possible(heads: int, vocab: int, ranks: int) -> None:
    config = GPTConfig(vocab_size=vocab, n_positions=4, n_embd=heads * 2, n_layer=1, n_head=heads)
    if heads % ranks == 0 and vocab % ranks == 0:
        check_ranks(config, ranks)
        return
    with pytest.raises(ConfigError) as caught:
        check_ranks(config, ranks)
    named = [int(word) for word in str(caught.value).split("possible numbers are ")[1].split(", ")]
    assert named == [n for n in range(1, 50) if heads % n == 0 and vocab % n == 0]


def test_options_of_another_layout_are_refused(checkpoints: Path, tmp_path: Path) -> None:
    for option in ({"ranks": 2}, {"layout": "megatron"}):
        with pytest.raises(ConfigError, match="options of 'megatron'"):
            convert(checkpoints / "tiny-mp2", tmp_path / "out", heads=4, **option)
    with pytest.raises(ConfigError, match="expected one of deepspeed, megatron"):
        convert(checkpoints / "tiny-mp2", tmp_path / "o", heads=4, to="megatron", layout="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "said"), [(np.nan, "not finite"), (1e6, "too large for F16")])
def test_numbers_that_cannot_be_stored_leave_no_files(
    tmp_path: Path, value: float, said: str
) -> None:
    def corrupt(rank: int, root: dict[str, Any]) -> None:
        root["module"]["transformer.layers.1.mlp.dense_h_to_4h.weight"][3, 5] = value

    source = write_shards(tmp_path / "in", edit=corrupt)
    with pytest.raises(CheckpointError, match=said) as caught:
        convert(source, tmp_path / "out", to="megatron", ranks=2, heads=4, weights="f16")
    assert "transformer.layers.1.mlp.dense_h_to_4h.weight" in str(caught.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


def test_only_a_checkpoint_of_the_same_layout_is_replaced(
    checkpoints: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    convert(checkpoints / "tiny-mp2", out, to="megatron", ranks=4, heads=4)
    convert(checkpoints / "tiny-mp2", out, to="megatron", ranks=2, heads=4, overwrite=True)
    assert len(list(out.rglob("*.pt"))) == 2
    with pytest.raises(CheckpointError, match="will not be overwritten"):
        convert(checkpoints / "tiny-mp2", out, heads=4, overwrite=True)


def test_storages_are_aligned_and_equal_models_give_equal_files(
    checkpoints: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        convert(checkpoints / "tiny-mp2", tmp_path / name, to="megatron", ranks=2, heads=4)
    for file in (tmp_path / "a").rglob("*.pt"):
        same = tmp_path / "b" / file.relative_to(tmp_path / "a")
        assert file.read_bytes() == same.read_bytes()
        loaded = torch.load(file, weights_only=True, mmap=True)
        assert all(tensor.data_ptr() % 64 == 0 for tensor in loaded["module"].values())


def test_large_zip_entries_have_64_bit_sizes(
    tmp_path: Path, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is lowered, so that no gigabytes are written."""
    monkeypatch.setattr("cpm_lm.checkpoints.containers.torch_writer.ZIP64_MIN_BYTES", 1000)
    convert(checkpoints / "tiny-mp1", tmp_path / "out", to="megatron", heads=4)
    file = next((tmp_path / "out").rglob("*.pt"))
    loaded = torch.load(file, weights_only=True, mmap=True)["module"]
    assert all(tensor.data_ptr() % 64 == 0 for tensor in loaded.values())
    theirs = read_torch_file(file)["module"]
    assert all(np.array_equal(theirs[k].tensor.array, loaded[k].numpy()) for k in loaded)


MEMORY = """
import sys, threading
from cpm_lm.checkpoints.convert import convert
def private():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
def watch():
    global peak
    while not done.wait(0.001):
        peak = max(peak, private())
small, source, target = sys.argv[1:]
convert(small, target + "-small", to="megatron", heads=4)
before, peak, done = private(), 0, threading.Event()
watcher = threading.Thread(target=watch)
watcher.start()
convert(source, target, to="megatron", ranks=2)
done.set()
watcher.join()
print(peak - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_model(tmp_path: Path, checkpoints: Path) -> None:
    source = write_shards(tmp_path / "in", width=512, layers=8, vocab=512, scale=0.02)
    convert(source, tmp_path / "store", heads=4)
    size = (tmp_path / "store" / "model.safetensors").stat().st_size
    words = [checkpoints / "tiny-mp2", tmp_path / "store", tmp_path / "out"]
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, words)], check=True, capture_output=True, text=True
    )
    assert size > 100_000_000
    assert int(run.stdout) < 24_000_000
    assert open_source(tmp_path / "out").ranks == 2

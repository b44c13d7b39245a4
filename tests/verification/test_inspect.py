"""What `inspect` reports of checkpoints and stores."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.known.heads import CPM_LARGE
from cpm_lm.checkpoints.known.releases import RELEASES, known_release
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.source import open_source
from cpm_lm.config import GPTConfig
from cpm_lm.engines.select import STARTERS
from cpm_lm.errors import CheckpointError
from cpm_lm.verification import inspect as module
from cpm_lm.verification.inspect import inspect
from tests.support.make_shards import write_shards


@pytest.mark.parametrize(
    ("name", "layout", "ranks", "weights"),
    [
        ("tiny-mp1", "deepspeed", 1, "f32"),
        ("tiny-mp4", "deepspeed", 4, "f32"),
        ("tiny-mp2-fp16-cudatags-legacy", "deepspeed", 2, "f16"),
        ("tiny-mp2-model_optim_rng", "megatron", 2, "f32"),
    ],
)
def test_a_checkpoint_is_described(
    checkpoints: Path, name: str, layout: str, ranks: int, weights: str
) -> None:
    found = inspect(checkpoints / name)
    assert (found.layout, found.ranks, found.weights) == (layout, ranks, weights)
    assert (found.iteration, found.parameters) == (80000, 191040)
    shape = (found.vocab_size, found.n_positions, found.n_embd, found.n_layer)
    assert shape == (512, 128, 64, 3)
    assert found.n_head is None
    assert "heads" in found.warnings[0]
    assert found.release is None
    assert not found.tokenizer
    files = sorted((checkpoints / name).rglob("*.pt"))
    assert [(f.bytes, f.sha1, f.md5) for f in found.files] == [
        (
            file.stat().st_size,
            hashlib.sha1(file.read_bytes()).hexdigest(),
            hashlib.md5(file.read_bytes()).hexdigest(),
        )
        for file in files
    ]
    assert json.loads(json.dumps(found.to_json()))["files"][0]["name"] == str(
        files[0].relative_to(files[0].parents[0 if layout == "deepspeed" else 1])
    )


def test_a_store_is_described(checkpoints: Path, tmp_path: Path) -> None:
    convert(checkpoints / "tiny-mp2", tmp_path / "store", heads=4)
    found = inspect(tmp_path / "store")
    assert (found.layout, found.ranks, found.iteration, found.n_head) == ("store", 1, 80000, 4)
    assert found.warnings == ()
    memory = {need.engine: need for need in found.memory}
    assert set(memory) == set(STARTERS)
    for need in found.memory:
        assert need.context == 128 * 2 * 4 * 3 * 64
        assert need.total == need.weights + need.context
        assert need.mapped == (need.engine in ("native", "reference"))
    assert memory["reference"].weights == memory["jax"].weights == 4 * 191040
    assert memory["tensorflow"].weights == 4 * (191040 + 512 * 64)
    half = {need.engine: need for need in inspect(checkpoints / "tiny-mp2-fp16").memory}
    assert (half["reference"].weights, half["reference"].mapped) == (4 * 191040, False)
    assert half["jax"].weights == 2 * 191040
    assert (half["native"].weights, half["native"].mapped) == (2 * 191040, True)


def test_digests_are_optional(checkpoints: Path) -> None:
    seen: list[tuple[int, int]] = []
    quick = inspect(checkpoints / "tiny-mp2", digests=False, progress=lambda *at: seen.append(at))
    assert not seen
    assert all(file.sha1 is None and file.md5 is None for file in quick.files)
    inspect(checkpoints / "tiny-mp2", progress=lambda *at: seen.append(at))
    assert seen[-1][0] == seen[-1][1] == sum(file.bytes for file in quick.files)


@pytest.mark.data
def test_known_digests_equal_the_published_ones(shared_data: Path) -> None:
    published = json.loads((shared_data / "golden" / "metrics.json").read_text())["checksums"]
    shards = [entry for entry in published.values() if "sha1" in entry]
    ports = list(published["TF2 SavedModel md5 (qhduan README)"].values())
    assert len(shards + ports) == len(RELEASES)
    for entry, release in zip(shards, RELEASES, strict=False):
        assert tuple(entry["sha1"].values()) == release.sha1
        assert tuple(entry["md5"].values()) == release.md5
    for port, release in zip(ports, RELEASES[2:], strict=True):
        files = ("variables.index", "variables.data-00000-of-00001")
        assert tuple(port[f"variables/{file}"] for file in files) == release.md5


def test_a_release_is_recognized_by_all_its_digests() -> None:
    new, old = ([*zip(r.sha1, r.md5, strict=True)] for r in RELEASES[:2])
    assert known_release(new) == (RELEASES[0].name, [])
    assert known_release(old) == (RELEASES[1].name, [])
    assert known_release([("0", "0"), ("1", "1")]) == (None, [])
    name, warnings = known_release([new[0], ("1", "1")])
    assert name is None
    assert "only rank 0" in warnings[0]
    assert len(known_release([new[0], old[1]])[1]) == 2
    assert known_release(new[::-1])[0] is None


def test_the_first_ports_files_are_recognized_by_its_digests() -> None:
    port = RELEASES[2]
    files = [("whatever", md5) for md5 in port.md5]
    assert known_release(files) == (port.name, [])
    name, warnings = known_release([files[0], ("1", "1")])
    assert name is None
    assert port.name in warnings[0]


def test_a_wrong_parameter_count_is_a_warning(tmp_path: Path) -> None:
    shape = GPTConfig(vocab_size=30000, n_positions=1024, n_embd=2560, n_layer=32, n_head=32)
    assert shape.parameter_count == CPM_LARGE == 2_597_073_920
    source = open_source(write_shards(tmp_path / "in", ranks=2))
    for layers, expected in ((32, 0), (31, 1)):
        dims = Dims(30000, 1024, 2560, layers)
        large = dataclasses.replace(source, dims=dims)
        assert len(module._warnings(large, 32)) == expected
    assert "2,518,397,440" in module._warnings(large, 32)[0]


def test_an_unreadable_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        inspect(tmp_path / "nowhere")
    folder = write_shards(tmp_path / "in")
    next(folder.rglob("*.pt")).unlink()
    with pytest.raises(CheckpointError, match="rank"):
        inspect(folder)

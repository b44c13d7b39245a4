"""Whatever `convert --to megatron` writes, this program reads; what it could not is not left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cpm_lm.checkpoints.containers import zip_checksums
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.errors import CheckpointError
from tests.support.make_shards import write_shards

HEADS = 4


def written(source: Path | Source, target: Path, **how: Any) -> Source:
    convert(source, target, to="megatron", heads=HEADS, **how)
    return open_source(target)


@pytest.mark.parametrize(
    ("layout", "step"),
    [("deepspeed", -1), ("megatron", 1 << 70), ("deepspeed", 10**600), ("megatron", True),
     ("deepspeed", 1.5), ("megatron", "80000"), ("deepspeed", None)],
)  # fmt: skip
def test_a_step_that_no_directory_can_be_named_by(
    tmp_path: Path, layout: str, step: object
) -> None:
    """A step of 70 bits gave a directory that was not found again, a longer one an OSError."""

    def edit(_: int, root: dict[str, Any]) -> None:
        root["iteration"] = step

    folder = write_shards(tmp_path / "in", edit=edit)
    found = written(folder, tmp_path / "out", layout=layout, ranks=2)
    assert found.iteration == 0
    assert open_source(folder).iteration is None


@pytest.mark.parametrize("step", [0, 10_000_000, (1 << 63) - 1])
@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
def test_any_other_step_is_kept(tmp_path: Path, layout: str, step: int) -> None:
    def edit(_: int, root: dict[str, Any]) -> None:
        root["iteration"] = step

    folder = write_shards(tmp_path / "in", edit=edit)
    assert written(folder, tmp_path / "out", layout=layout).iteration == step


@pytest.mark.parametrize(
    "name", ["mp_rank_00", "iter_0000001", "x.bin", "pytorch_model.bin", "model.safetensors",
             "a-00001-of-00002.bin", "latest_checkpointed_iteration.txt", "模型", " ", "a\nb"],
)  # fmt: skip
def test_any_name_of_the_target_is_read_again(tmp_path: Path, name: str) -> None:
    write_shards(tmp_path / "in", layers=1)
    assert written(tmp_path / "in", tmp_path / name, ranks=2).ranks == 2


def test_more_ranks_than_two_digits_count(tmp_path: Path) -> None:
    write_shards(tmp_path / "in", ranks=1, vocab=104, width=104, layers=1)
    convert(tmp_path / "in", tmp_path / "out", to="megatron", heads=104, ranks=104)
    again = open_source(tmp_path / "out")
    assert again.ranks == 104
    first = open_source(tmp_path / "in")
    for name, tensor in first.tensors.items():
        assert np.array_equal(tensor.read(), again.tensors[name].read())


def test_ranks_that_nobody_could_tell_apart_are_not_written(tmp_path: Path) -> None:
    """A model of equal weights was split into copies, which `inspect` then refused."""

    def edit(_: int, root: dict[str, Any]) -> None:
        root["module"] = {name: torch.ones_like(value) for name, value in root["module"].items()}

    write_shards(tmp_path / "in", ranks=1, edit=edit)
    with pytest.raises(CheckpointError, match=r"read again: .*hold the same weights.*--ranks") as e:
        written(tmp_path / "in", tmp_path / "out", ranks=2)
    assert "partial" not in str(e.value)
    assert {entry.name for entry in tmp_path.iterdir()} == {"in"}
    assert written(tmp_path / "in", tmp_path / "out", ranks=1).ranks == 1


def test_each_checksum_is_computed_once_and_none_to_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening a model of gigabytes must not read them."""
    compared: list[str] = []
    check = zip_checksums.check_entry

    def counted(*arguments: Any) -> None:
        compared.append(arguments[2].name)
        check(*arguments)

    folder = write_shards(tmp_path / "in")
    monkeypatch.setattr(zip_checksums, "check_entry", counted)
    opened = open_source(folder)
    assert compared == []
    convert(opened, tmp_path / "out", heads=HEADS)
    shards = [torch.load(f, weights_only=False)["module"] for f in (folder / "500").iterdir()]
    split = sum(shards[0][name].shape != shards[1][name].shape or not _same(name, shards)
                for name in shards[0])  # fmt: skip
    # Of what all ranks hold alike, one copy is used.
    assert len(compared) == len(set(compared)) == len(shards[0]) + split


def _same(name: str, shards: list[dict[str, torch.Tensor]]) -> bool:
    return torch.equal(shards[0][name], shards[1][name])

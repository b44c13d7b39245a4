"""Newer versions of Megatron's files keep queries, keys and values by head: read, or refused."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.source import open_source
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError
from tests.support.make_shards import write_shards

HEADS = 4


def interleaved(tensor: torch.Tensor, version: float, heads: int) -> torch.Tensor:
    """Rows of a rank's q, then k, then v, as a newer version keeps them.

    The inverse of fix_query_key_value_ordering in transformers' convert_megatron_gpt2_checkpoint
    and in Megatron-LM's megatron/checkpointing.py.
    """
    rest = tensor.shape[1:]
    split = tensor.view(3, heads, -1, *rest)
    order = split.permute(1, 2, 0, *range(3, split.dim()))  # [heads, size, 3]: version 1
    if version >= 2:
        order = split.transpose(0, 1)  # [heads, 3, size]
    return order.contiguous().view(tensor.shape)


def written(version: float, ranks: int, **more: Any) -> Callable[[int, dict[str, Any]], None]:
    def edit(_: int, root: dict[str, Any]) -> None:
        weights = root["module"] if "module" in root else root["model"]
        for name in weights:
            if "query_key_value" in name:
                weights[name] = interleaved(weights[name], version, HEADS // ranks)
        root.update({"checkpoint_version": version, **more})

    return edit


ARGUMENTS = argparse.Namespace(num_attention_heads=HEADS, hidden_size=16)


@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("version", [1.0, 2.0, 3.0, 2])
def test_every_version_gives_the_same_store(
    tmp_path: Path, layout: str, ranks: int, version: float
) -> None:
    """They were joined as version 0, which moves the logits by 1.3."""
    how: Any = {"layout": layout, "ranks": ranks}
    convert(write_shards(tmp_path / "0", **how), tmp_path / "a", heads=HEADS)
    newer = write_shards(tmp_path / "1", **how, edit=written(version, ranks))
    said = write_shards(tmp_path / "2", **how, edit=written(version, ranks, args=ARGUMENTS))
    convert(newer, tmp_path / "b", heads=HEADS)
    convert(said, tmp_path / "c", heads=HEADS)
    config = GPTConfig(vocab_size=32, n_positions=8, n_embd=16, n_layer=2, n_head=HEADS)
    convert(newer, tmp_path / "d", config=config)
    stores = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abcd"]
    assert stores[0] == stores[1] == stores[2] == stores[3]
    assert open_source(said).heads in (None, HEADS)


def test_version_0_says_so_or_nothing(tmp_path: Path) -> None:
    zero = write_shards(tmp_path / "1", edit=lambda _, root: root.update(checkpoint_version=0))
    convert(write_shards(tmp_path / "0"), tmp_path / "a", heads=HEADS)
    convert(zero, tmp_path / "b", heads=HEADS)
    a, b = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert a == b


def test_heads_that_nobody_says(tmp_path: Path) -> None:
    source = write_shards(tmp_path / "in", edit=written(2.0, 2))
    with pytest.raises(CheckpointError, match=r"checkpoint_version 2\.0: .*by head.*--heads"):
        open_source(source)
    with pytest.raises(CheckpointError, match="3 heads cannot have been split over 2 ranks"):
        convert(source, tmp_path / "store", heads=3)
    said = write_shards(tmp_path / "said", edit=written(2.0, 2, args=ARGUMENTS))
    with pytest.raises(CheckpointError, match=r"heads is 8, but .* 4"):
        convert(said, tmp_path / "store", heads=8)
    with pytest.raises(ConfigError, match=r"n_head is 8, but .* read with 4 heads"):
        convert(open_source(source, heads=4), tmp_path / "store", heads=8)
    convert(said, tmp_path / "store")


@pytest.mark.parametrize("version", [4.0, 0.5, -1, "2.0", None, True, float("nan")])
def test_unknown_versions_are_refused(tmp_path: Path, version: Any) -> None:
    edit = lambda _, root: root.update(checkpoint_version=version)  # noqa: E731
    with pytest.raises(CheckpointError, match="has checkpoint_version"):
        convert(write_shards(tmp_path / "in", edit=edit), tmp_path / "store", heads=HEADS)


def test_ranks_of_different_versions(tmp_path: Path) -> None:
    edit = lambda rank, root: root.update(checkpoint_version=rank)  # noqa: E731
    with pytest.raises(CheckpointError, match="not of one model"):
        convert(write_shards(tmp_path / "in", edit=edit), tmp_path / "store", heads=HEADS)

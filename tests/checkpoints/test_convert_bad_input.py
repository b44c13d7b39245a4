"""Bad checkpoints and requests: each is a one-line error, and nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.known.heads import known_heads
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError, CpmError, TokenizerError
from cpm_lm.tokenizer import Tokenizer
from tests.support.make_shards import write_shards
from tests.support.tiny_vocabulary import train

LAYER = "transformer.layers.1"
QKV = f"{LAYER}.attention.query_key_value.weight"


def refused(
    source: Path, kind: type[CpmError], *words: str, heads: int | None = 4, **options: Any
) -> str:
    target = source.parent / "never" / "store"
    with pytest.raises(kind) as caught:
        convert(source, target, heads=heads, **options)
    message = str(caught.value)
    assert message.isprintable()
    for word in words:
        assert word in message
    assert not target.parent.exists() or not list(target.parent.iterdir())
    return message


def shard(folder: Path, rank: int) -> Path:
    return folder / "500" / f"mp_rank_{rank:02d}_model_states.pt"


@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
@pytest.mark.parametrize(("ranks", "gone"), [(2, 0), (2, 1), (4, 2), (4, 3)])
def test_a_missing_shard_is_refused(tmp_path: Path, layout: str, ranks: int, gone: int) -> None:
    folder = write_shards(tmp_path / "in", ranks=ranks, layout=layout)
    file = sorted(folder.rglob("*.pt"))[gone]
    file.unlink()
    words = ["rank 0" if gone == 0 else "rank 2"] if gone < ranks - 1 else ["missing", f"{ranks}"]
    refused(folder, CheckpointError, *words)


def test_an_extra_shard_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    other = write_shards(tmp_path / "other", seed=3)
    shutil.copy(shard(other, 1), shard(folder, 2))
    refused(folder, CheckpointError, "too many", "one of 2", "found 3")


def test_one_shard_with_two_names_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    shutil.copy(shard(folder, 0), shard(folder, 1))
    refused(folder, CheckpointError, "mp_rank_00", "mp_rank_01", "the same weights")


def test_two_shards_with_equal_tensors_are_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    root = torch.load(shard(folder, 0), weights_only=False) | {"note": "saved again"}
    torch.save(root, shard(folder, 1))
    assert shard(folder, 0).read_bytes() != shard(folder, 1).read_bytes()
    refused(folder, CheckpointError, "the same weights")


def test_one_rank_in_two_files_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    shutil.copy(shard(folder, 1), folder / "500" / "mp_rank_1_model_states.pt")
    refused(folder, CheckpointError, "rank 1 twice")


@pytest.mark.parametrize("content", [b"", b"<html>404", b"version https://git-lfs.github.com/"])
def test_a_file_that_is_not_a_shard_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = write_shards(tmp_path / "in")
    shard(folder, 1).write_bytes(content)
    refused(folder, CheckpointError, "mp_rank_01")


def test_a_truncated_shard_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    content = shard(folder, 1).read_bytes()
    shard(folder, 1).write_bytes(content[:-100])
    refused(folder, CheckpointError, "mp_rank_01", "truncated")


def change(rank: int, action: Callable[[dict[str, Any]], object]) -> Callable[..., None]:
    def edit(at: int, root: dict[str, Any]) -> None:
        if at == rank:
            action(root)

    return edit


def in_module(name: str, action: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., None]:
    def apply(root: dict[str, Any]) -> None:
        root["module"][name] = action(root["module"][name])

    return change(1, apply)


NORM = f"{LAYER}.input_layernorm.weight"
BROKEN: dict[str, tuple[Callable[..., None], list[str]]] = {
    "another iteration": (
        change(1, lambda root: root.update(iteration=700)),
        ["different iterations", "500", "700"],
    ),
    "a replicated tensor differs": (in_module(NORM, lambda t: t + 1), [NORM, "differs"]),
    "positions differ": (
        in_module("position_embeddings.weight", lambda t: -t),
        ["position_embeddings.weight", "differs"],
    ),
    "another shape": (in_module(QKV, lambda t: t[:12]), [QKV, "(12, 16)", "(24, 16)"]),
    "another format": (in_module(QKV, lambda t: t.half()), [QKV, "F16", "F32"]),
    "no weights at all": (in_module(QKV, lambda t: t.double()), [QKV, "F64"]),
    "whole numbers": (in_module(QKV, lambda t: t.long()), [QKV, "I64"]),
    "a tensor is missing": (
        change(1, lambda root: root["module"].pop(QKV)),
        ["rank 1", QKV, "lacks"],
    ),
    "a tensor is left over": (
        change(0, lambda root: root["module"].update(extra=torch.ones(2))),
        ["rank 0", "extra", "not part"],
    ),
    "no tensor": (change(0, lambda root: root["module"].update(odd=3)), ["odd"]),
    "no embedding": (
        change(1, lambda root: root["module"].pop("word_embeddings.weight")),
        ["word_embeddings.weight"],
    ),
    "newer Megatron": (
        change(0, lambda root: root.update(module={"language_model": {"encoder": {}}})),
        ["language_model", "not supported"],
    ),
    "weights elsewhere": (
        change(0, lambda root: root.update(module=None, state={})),
        ["'module' or 'model'", "state"],
    ),
    "another rank count": (
        change(1, lambda root: root.update(mp_world_size=4)),
        ["missing", "mp_world_size", "4"],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_shards_without_a_complete_model_are_refused(tmp_path: Path, case: str) -> None:
    edit, words = BROKEN[case]
    refused(write_shards(tmp_path / "in", edit=edit), CheckpointError, *words)


def test_shards_of_two_models_are_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    other = write_shards(tmp_path / "other", seed=3)
    shutil.copy(shard(other, 1), shard(folder, 1))
    refused(folder, CheckpointError, "differs from rank 0's", "same download")
    other = write_shards(tmp_path / "deeper", layers=3)
    shutil.copy(shard(other, 1), shard(folder, 1))
    refused(folder, CheckpointError, "rank 0 lacks transformer.layers.2")
    other = write_shards(tmp_path / "wider", width=32)
    shutil.copy(shard(other, 1), shard(folder, 1))
    refused(folder, CheckpointError, "rank 1", "expected")


def test_all_problems_are_in_one_error(tmp_path: Path) -> None:
    def edit(rank: int, root: dict[str, Any]) -> None:
        weights = root["module"]
        if rank == 0:
            del weights[f"{LAYER}.attention.dense.bias"]
            weights["word_embeddings.weight"][3, 3] = float("nan")
        else:
            weights["extra"] = torch.ones(1)
            weights[NORM] = weights[NORM] + 1
            weights[QKV] = weights[QKV].T.contiguous()
            root["iteration"] = 1

    found = refused(
        write_shards(tmp_path / "in", edit=edit),
        CheckpointError,
        "attention.dense.bias",
        "word_embeddings.weight holds 1 numbers that are not finite",
        "extra",
        NORM,
        QKV,
        "iterations",
    )
    assert "6 problems" in found


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("weights", ["f32", "f16", "bf16"])
def test_weights_that_are_not_finite_are_refused(
    tmp_path: Path, value: float, dtype: torch.dtype, weights: str
) -> None:
    def edit(rank: int, root: dict[str, Any]) -> None:
        if rank == 1:
            root["module"][QKV][2, 5] = value
            root["module"][f"{LAYER}.mlp.dense_h_to_4h.bias"][:3] = value

    folder = write_shards(tmp_path / "in", dtype=dtype, edit=edit)
    words = ["h.1.attn.c_attn.weight holds 1 ", "h.1.mlp.c_fc.bias holds 3 ", "not finite"]
    refused(folder, CheckpointError, *words, weights=weights)


def test_a_number_too_large_for_the_format_is_refused(tmp_path: Path) -> None:
    def large(value: float) -> Callable[..., None]:
        return in_module(QKV, lambda t: t.index_fill(0, torch.tensor([1]), value))

    folder = write_shards(tmp_path / "half", edit=large(65520.0))
    refused(folder, CheckpointError, "h.1.attn.c_attn.weight", "too large for F16", weights="f16")
    convert(folder, tmp_path / "bf16", heads=4, weights="bf16")
    folder = write_shards(tmp_path / "brain", edit=large(3.4e38))
    refused(folder, CheckpointError, "h.1.attn.c_attn.weight", "too large for BF", weights="bf16")
    folder = write_shards(tmp_path / "fits", edit=large(65519.0))
    convert(folder, tmp_path / "f16", heads=4, weights="f16")


def test_an_unknown_number_of_heads_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    refused(folder, ConfigError, "width 16", "--heads", "--config", heads=None)
    refused(folder, ConfigError, "does not divide", heads=3)
    refused(folder, ConfigError, "n_head", heads=0)
    refused(folder, ConfigError, "1 heads", "2 ranks", heads=1)


@pytest.mark.parametrize(("width", "heads"), [(1024, 16), (768, 12)])
def test_heads_of_published_widths_are_known(width: int, heads: int) -> None:
    assert known_heads(Dims(30000, 1024, width, 12)) == heads


def test_a_wrong_parameter_count() -> None:
    assert known_heads(Dims(30000, 1024, 2560, 32)) == 32
    with pytest.raises(CheckpointError, match=r"2,518,397,440 parameters, expected 2,597,073,920"):
        known_heads(Dims(30000, 1024, 2560, 31))


def test_a_configuration_that_does_not_match_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    sizes: dict[str, Any] = {
        "vocab_size": 32,
        "n_positions": 8,
        "n_embd": 16,
        "n_layer": 2,
        "n_head": 4,
    }
    path = tmp_path / "config.json"
    for name in ("vocab_size", "n_positions", "n_layer"):
        path.write_text(json.dumps(sizes | {name: 7}))
        refused(folder, ConfigError, f"{name} 7", f"expected {sizes[name]}", config=path)
    path.write_text(json.dumps(sizes))
    refused(folder, ConfigError, "heads is 2", "4", config=path, heads=2)
    path.write_text("{")
    refused(folder, ConfigError, str(path), config=path)
    refused(folder, ConfigError, "cannot be read", config=tmp_path / "none.json")
    convert(folder, tmp_path / "ok", config=GPTConfig(**sizes))
    assert Store.open(tmp_path / "ok").config == GPTConfig(**sizes)


def test_an_unknown_number_format_is_refused(tmp_path: Path) -> None:
    known = "f32, f16, bf16, q8, q4"
    refused(write_shards(tmp_path / "in"), ConfigError, "q5", known, weights="q5")


@pytest.mark.parametrize("more", [-1, 1])
def test_a_vocabulary_of_another_size_is_refused(tmp_path: Path, more: int) -> None:
    directory = train(tmp_path / "vocabulary")
    rows = Tokenizer.load(directory).vocab_size + more
    folder = write_shards(tmp_path / "in", vocab=rows, ranks=1)
    words = [f"{rows - more:,} pieces", f"{rows:,} rows"]
    refused(folder, TokenizerError, *words, tokenizer=directory)


def test_a_directory_without_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in")
    (tmp_path / "empty").mkdir()
    refused(folder, TokenizerError, "chinese_vocab.model", tokenizer=tmp_path / "empty")
    convert(folder, tmp_path / "store", heads=4)
    assert not Store.open(tmp_path / "store").has_tokenizer


@pytest.mark.parametrize("beside", [".", "500"])
def test_a_vocabulary_beside_the_weights_is_copied(tmp_path: Path, beside: str) -> None:
    rows = Tokenizer.load(train(tmp_path / "v")).vocab_size
    folder = write_shards(tmp_path / "in", vocab=rows, ranks=1)
    shutil.copy(tmp_path / "v" / "chinese_vocab.model", folder / beside)
    manifest = convert(folder, tmp_path / "store", heads=4)
    assert "chinese_vocab.model" in {file.name for file in manifest.files}
    assert Store.open(tmp_path / "store").has_tokenizer
    convert(tmp_path / "store", tmp_path / "half", weights="f16")
    assert Store.open(tmp_path / "half").has_tokenizer


def test_a_path_without_checkpoint_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", CheckpointError, "does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", CheckpointError, "found nothing")
    folder = write_shards(tmp_path / "in")
    (folder / "latest_checkpointed_iteration.txt").write_text("800\n")
    refused(folder, CheckpointError, "'800'", "iter_0000800", "500")
    for nothing, shown in (("", "''"), ("\x1b[2J", r"'\x1b[2J'")):
        (folder / "latest_checkpointed_iteration.txt").write_text(nothing)
        refused(folder, CheckpointError, shown, "expected a training step")
    (folder / "latest_checkpointed_iteration.txt").write_text("../500\n")
    refused(folder, CheckpointError, "'../500'")
    (folder / "latest_checkpointed_iteration.txt").unlink()
    convert(folder, tmp_path / "one", heads=4)
    shutil.copytree(folder / "500", folder / "600")
    refused(folder, CheckpointError, "500, 600")


def test_another_file_as_source_is_refused_by_its_name(tmp_path: Path) -> None:
    # Once its directory was searched instead, and the error named the directory.
    (tmp_path / "notes.txt").write_text("x")
    refused(tmp_path / "notes.txt", CheckpointError, "notes.txt is a file", "directory")


@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
def test_a_checkpoint_is_found_from_any_of_its_paths(tmp_path: Path, layout: str) -> None:
    folder = write_shards(tmp_path / "in", ranks=1, layout=layout)
    file = next(folder.rglob("*.pt"))
    places = {
        folder,
        file,
        file.parent,
        folder / ("500" if layout == "deepspeed" else "iter_0000500"),
    }
    files = set()
    for number, place in enumerate(places):
        convert(place, tmp_path / str(number), heads=4)
        files.add((tmp_path / str(number) / "model.safetensors").read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("layout", ["deepspeed", "megatron"])
def test_the_working_directory_can_be_the_checkpoint(
    tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next(write_shards(tmp_path / "in", layout=layout).rglob("*.pt"))
    monkeypatch.chdir(file.parent)
    convert(".", tmp_path / "store", heads=4)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"rank|expected"):
        convert(".", tmp_path / "again", heads=4)

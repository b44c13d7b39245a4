"""What is not read is named by what it is, with what to do about it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.source import open_source
from cpm_lm.errors import CheckpointError, CpmError, TokenizerError
from cpm_lm.tokenizer import Tokenizer
from tests.support.make_pretrained import random_model, state_of, write_bin, write_config
from tests.support.make_shards import write_shards

KINDS = {
    "adapter_model.safetensors": ("LoRA", "merge"),
    "adapter_config.json": ("LoRA", "merge"),
    "checkpoint-9/adapter_model.bin": ("LoRA", "merge"),
    "flax_model.msgpack": ("Flax", "from_flax"),
    "flax_model-00001-of-00002.msgpack": ("Flax", "from_flax"),
    "model_state.pdparams": ("Paddle", "PyTorch"),
    "model-q4_k.gguf": ("llama.cpp", "of this model"),
    "onnx/decoder_model.onnx": ("ONNX", "of this model"),
    "global_step9/zero_pp_rank_0_mp_rank_00_model_states.pt": ("ZeRO", "zero_to_fp32.py"),
    "global_step9/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt": ("ZeRO", "zero_to_fp32.py"),
    "global_step9/layer_03-model_00-model_states.pt": ("pipeline", "one pipeline stage"),
    "iter_0000500/mp_rank_00_001/model_optim_rng.pt": ("pipeline", "one pipeline stage"),
    "iter_0000500/__0_0.distcp": ("distributed checkpoint", "dcp_to_torch"),
    "model.ckpt-9.index": ("TensorFlow 1", "transformers 4"),
    "model.keras": ("Keras", "converted model"),
    "rust_model.ot": ("runtime", "of this model"),
    "cpm1-new.jsons": ("BMInf", "mp_rank_00_model_states.pt"),
    "optimizer.pt": ("optimizer", "also has the weights"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("with_config", [True, False])
def test_kinds_are_named(tmp_path: Path, name: str, with_config: bool) -> None:
    """All were told "expected latest_checkpointed_iteration.txt"."""
    (tmp_path / "in" / name).parent.mkdir(parents=True)
    (tmp_path / "in" / name).write_bytes(b"anything")
    if with_config:
        write_config(tmp_path / "in", random_model())
    what, todo = KINDS[name]
    sources = [tmp_path / "in"]
    if "/" not in name and not with_config:
        sources.append(tmp_path / "in" / name)
    for source in sources:
        with pytest.raises(CheckpointError) as caught:
            convert(source, tmp_path / "store")
        message = str(caught.value)
        assert what in message
        assert todo in message
        assert name.rsplit("/", 1)[-1].split(".")[0][:6] in message
        assert message.isprintable()


def test_pipeline_stages_beside_a_shard_are_no_model(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in", ranks=1)
    open_source(folder)
    (folder / "500" / "layer_03-model_00-model_states.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="pipeline"):
        open_source(folder)


def test_an_optimizer_beside_a_model_is_passed_over(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "in", ranks=1)
    (folder / "500" / "zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"x")
    assert open_source(folder).ranks == 1
    model = random_model(n_layer=1)
    write_bin(tmp_path / "hf", model, state_of(model))
    for name in ("optimizer.pt", "flax_model.msgpack", "model.onnx", "adapter_config.json"):
        (tmp_path / "hf" / name).write_bytes(b"x")
    assert open_source(tmp_path / "hf").layout == "huggingface"


def test_a_directory_of_models_names_them(tmp_path: Path) -> None:
    model = random_model(n_layer=1)
    for name in ("checkpoint-500", "checkpoint-900"):
        write_bin(tmp_path / "run" / name, model, state_of(model))
        (tmp_path / "run" / name / "optimizer.pt").write_bytes(b"x")
    with pytest.raises(CheckpointError, match="give one of checkpoint-500, checkpoint-900"):
        open_source(tmp_path / "run")


def test_a_configuration_alone_lists_the_forms(tmp_path: Path) -> None:
    write_config(tmp_path / "in", random_model())
    with pytest.raises(CheckpointError, match=r"model\.safetensors,.*tf_model\.h5\.index\.json; f"):
        open_source(tmp_path / "in")
    (tmp_path / "in" / "chinese.bin").write_bytes(b"PK\3\4")
    with pytest.raises(CheckpointError, match=r"give the file itself: .*chinese\.bin"):
        open_source(tmp_path / "in")


def test_anything_else_is_told_all_forms(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("x")
    with pytest.raises(
        CheckpointError, match=r"Hugging Face.*SavedModel.*latest_check.*notes\.txt"
    ):
        open_source(tmp_path / "in")


def cached(root: Path, *snapshots: str) -> Path:
    """As huggingface_hub keeps a model: blobs, and links to them for each revision."""
    model = random_model(n_layer=1)
    path = root / "models--owner--name"
    files = write_bin(root / "files", model, state_of(model))
    (path / "blobs").mkdir(parents=True)
    for revision in snapshots:
        (path / "snapshots" / revision).mkdir(parents=True)
        for file in files.iterdir():
            (path / "blobs" / file.name).write_bytes(file.read_bytes())
            link = path / "snapshots" / revision / file.name
            link.symlink_to(Path("../../blobs") / file.name)
    (path / "refs").mkdir()
    return path


def test_a_cache_of_the_hub_is_opened(tmp_path: Path) -> None:
    path = cached(tmp_path / "hub", "aaa", "bbb")
    with pytest.raises(CheckpointError, match="found aaa, bbb; give one"):
        open_source(path)
    (path / "refs" / "main").write_text("bbb\n")
    assert open_source(path).directory.name == "bbb"
    (path / "snapshots" / "bbb" / "pytorch_model.bin").unlink()
    (path / "snapshots" / "bbb" / "pytorch_model.bin").symlink_to("../../blobs/gone")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin \(a link to a missing file\)"):
        open_source(path)
    (tmp_path / "hub" / "models--owner--other").mkdir()
    with pytest.raises(CheckpointError, match="models--owner--name, models--owner--other"):
        open_source(tmp_path / "hub")


def test_one_snapshot_needs_no_reference(tmp_path: Path) -> None:
    cached(tmp_path / "hub", "aaa")
    assert open_source(tmp_path / "hub").directory.name == "aaa"


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
HTML = b"\xef\xbb\xbf \n<!DOCTYPE html><html>Sign in</html>"
BMINF = struct.pack("<II", 0, 3) + struct.pack("<I", 15) + b"input_embedding"
WEIGHTS = [
    "model.safetensors", "pytorch_model.bin", "tf_model.h5", "model.safetensors.index.json",
    "pytorch_model.bin.index.json", "tf_model.h5.index.json",
]  # fmt: skip


@pytest.mark.parametrize(
    "name", [*WEIGHTS, "config.json", "other.bin", "mp_rank_00_model_states.pt"]
)
@pytest.mark.parametrize(("content", "what"), [(LFS, "git lfs pull"), (HTML, "a web page")])
def test_pointers_and_web_pages_in_every_reader(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    write_config(tmp_path / "in", random_model())
    if name == "config.json":
        (tmp_path / "in" / WEIGHTS[0]).write_bytes(b"x")
    (tmp_path / "in" / name).write_bytes(content)
    for source in (tmp_path / "in", tmp_path / "in" / name):
        with pytest.raises(CpmError, match=what) as caught:
            open_source(source)
        assert name in str(caught.value)


@pytest.mark.parametrize(
    "name", ["chinese_vocab.model", "spiece.model", "vocab.txt", "tokenizer.json", "vocab.json"]
)
@pytest.mark.parametrize(("content", "what"), [(LFS, "git lfs pull"), (HTML, "a web page")])
def test_pointers_and_web_pages_in_vocabularies(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    if name == "vocab.json":
        from tests.support.tiny_vocabulary import train

        train(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TokenizerError, match=what) as caught:
        Tokenizer.load(tmp_path)
    assert name in str(caught.value)


def test_a_file_of_bminf(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "checkpoint.pt").write_bytes(BMINF)
    (tmp_path / "in" / "vocab.txt").write_text("[UNK]\n")
    for source in (tmp_path / "in", tmp_path / "in" / "checkpoint.pt"):
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is a BMInf file"):
            open_source(source)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_8_bit_floats_are_named(tmp_path: Path, dtype: torch.dtype) -> None:
    """The header was called damaged."""
    model = random_model(n_layer=1)
    write_config(tmp_path / "in", model)
    state = {name: value.to(dtype) for name, value in state_of(model).items()}
    save_file(state, tmp_path / "in" / "model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"c_attn\.bias is F8_E\dM\d, expected F64 or F32.*16 or 32 bits"
    ):
        open_source(tmp_path / "in")


def test_an_unknown_number_format_is_named(tmp_path: Path) -> None:
    write_config(tmp_path / "in", random_model())
    header = {"wte.weight": {"dtype": "F4", "shape": [2, 2], "data_offsets": [0, 2]}}
    text = json.dumps(header).encode()
    path = tmp_path / "in" / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"12")
    with pytest.raises(CheckpointError, match=r"wte\.weight in the number format F4.*16 or 32"):
        open_source(tmp_path / "in")


def test_byte_level_bpe_is_named(tmp_path: Path) -> None:
    """GPT-2's own vocabulary was passed over without a word."""
    model = random_model(n_layer=1)
    for number, files in enumerate(({"merges.txt": "a b", "vocab.json": "{}"},
                                    {"tokenizer.json": '{"model": {"type": "BPE"}}'})):  # fmt: skip
        folder = write_bin(tmp_path / f"in{number}", model, state_of(model))
        for name, text in files.items():
            (folder / name).write_text(text)
        manifest = convert(folder, tmp_path / f"store{number}")
        assert any("byte-level BPE" in note for note in manifest.notes)
        with pytest.raises(TokenizerError, match="byte-level BPE"):
            convert(folder, tmp_path / "other", tokenizer=folder)

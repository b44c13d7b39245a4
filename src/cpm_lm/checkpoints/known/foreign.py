"""Models in unsupported forms: the file names that identify them, and what the user can do.

Knows file names; opens no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from cpm_lm.languages import later

__all__ = ["Foreign", "recognized"]

DEPTH = 3
"""Levels of directories searched: a run, a training step, a rank."""
MOST = 2000
"""Most entries examined; in real checkpoints an identifying name is among the first."""


@dataclass(frozen=True)
class Foreign:
    """One unsupported kind of checkpoint."""

    marks: str
    """A regular expression for a whole file name that identifies it."""
    what: str
    todo: str
    replaces_shards: bool = False
    """Whether it takes precedence over Megatron shards in the same directory."""


TABLE = (
    Foreign(
        r"adapter_config\.json|adapter_model\.(safetensors|bin)",
        later("an adapter (LoRA or another kind of PEFT), not a whole model"),
        later(
            "merge it into its model (PEFT: merge_and_unload(), then save_pretrained()) and "
            "convert the result"
        ),
    ),
    Foreign(
        r"layer_\d+-model_\d+-model_states\.pt|mp_rank_\d+_\d+|pp_rank_.*",
        later(
            "the stages of pipeline parallelism (pipeline_model_parallel), one file for each part "
            "of the layers"
        ),
        later(
            "merge them with the tools of the program that trained it, to one pipeline stage "
            "(Megatron-LM: tools/checkpoint, --target-pipeline-parallel-size 1; DeepSpeed: "
            "ds_to_universal or Megatron-DeepSpeed's converter to Hugging Face's form)"
        ),
        replaces_shards=True,
    ),
    Foreign(
        r"(bf16_|fp16_)?zero_pp_rank_.*\.pt",
        later("the partitions of DeepSpeed's ZeRO, in which each rank holds a part of the weights"),
        later(
            "join them with the zero_to_fp32.py that DeepSpeed puts beside them (python "
            "zero_to_fp32.py . pytorch_model.bin) and convert the file it writes"
        ),
    ),
    Foreign(
        r".*\.distcp|__\d+_\d+\.pt",
        later(
            "a distributed checkpoint of PyTorch (torch.distributed.checkpoint, FSDP, "
            "Megatron-Core)"
        ),
        later(
            "join it with python -m torch.distributed.checkpoint.format_utils dcp_to_torch "
            "DIRECTORY FILE.pt, and convert that file"
        ),
    ),
    Foreign(
        r".*\.msgpack(\.index\.json)?",
        later("weights of Flax (JAX)"),
        later(
            "load them with transformers 4 (from_pretrained(..., from_flax=True)), "
            "save_pretrained(), and convert the result"
        ),
    ),
    Foreign(
        r".*\.(pdparams|pdiparams|pdmodel|pdopt)",
        later("weights of Paddle"),
        later(
            "get the PyTorch or safetensors files of this model, or convert them with PaddleNLP's "
            "own tools to PyTorch"
        ),
    ),
    Foreign(
        r".*\.(gguf|ggml)|ggml-.*\.bin",
        later("weights of llama.cpp (GGUF)"),
        later("get the PyTorch or safetensors files of this model"),
    ),
    Foreign(
        r".*\.onnx(_data)?|.*\.onnx\.data",
        later("an ONNX graph"),
        later("get the PyTorch or safetensors files of this model"),
    ),
    Foreign(
        r"cpm\d.*\.jsons|.*\.bminf",
        later("weights of BMInf, in 8 bits and its own format"),
        later(
            "get CPM's own files (mp_rank_00_model_states.pt, mp_rank_01_model_states.pt), which "
            "BMInf's were made from"
        ),
    ),
    Foreign(
        r".*\.ckpt(-\d+)?\.(index|meta|data-\d+-of-\d+)",
        later("a checkpoint of TensorFlow 1"),
        later(
            "convert it with transformers 4 (convert_gpt2_original_tf_checkpoint_to_pytorch) first"
        ),
    ),
    Foreign(
        r".*\.keras",
        later("a Keras file"),
        later("give the converted model that it was exported from"),
    ),
    Foreign(
        r".*\.(tflite|mlmodel|mlpackage|ot|nemo|engine|plan|trt|mindir|om)|openvino_model\..*",
        later("a model for another inference runtime"),
        later("get the PyTorch or safetensors files of this model"),
    ),
    Foreign(
        r"optimizer(_\d+)?\.(pt|bin)|rng_state.*\.pth|scheduler\.pt|.*_optim_states\.pt",
        later("the state of an optimizer, without the weights"),
        later("give the directory that also has the weights"),
    ),
)
"""The first kind that matches is reported."""


def recognized(path: Path) -> tuple[Foreign, str] | None:
    """Return the kind of an unsupported file or directory, and the name that identifies it."""
    names = list(islice(_names(path, DEPTH), MOST)) if path.is_dir() else [path.name]
    for kind in TABLE:
        marks = re.compile(kind.marks, re.IGNORECASE)
        for name in names:
            if marks.fullmatch(name.rsplit("/", 1)[-1]):
                return kind, name
    return None


def _names(folder: Path, depth: int) -> Iterator[str]:
    """Yield the names below a directory, level by level."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    yield from (entry.name for entry in entries)
    for entry in entries:
        if depth > 1 and entry.is_dir() and not entry.is_symlink():
            yield from (f"{entry.name}/{name}" for name in _names(entry, depth - 1))

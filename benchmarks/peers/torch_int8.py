"""Hugging Face's GPT-2 with 8-bit weights of PyTorch: a scale for each output, float activations.

The product is `torch._weight_int8pack_mm`, which PyTorch's quantized models compile to.
"""

from __future__ import annotations

import dataclasses

import torch
from transformers.pytorch_utils import Conv1D

from benchmarks.measuring import weights_read
from benchmarks.peers.files import Files
from benchmarks.peers.huggingface import HuggingFace

__all__ = ["open_implementation"]


class PackedMatrix(torch.nn.Module):
    """A linear map of 8-bit weights; `weight` is [out, in]."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.scale = weight.abs().amax(1) / 127
        self.packed = (weight / self.scale[:, None]).round().to(torch.int8).contiguous()
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.reshape(-1, x.shape[-1]).contiguous()
        y = torch._weight_int8pack_mm(flat, self.packed, self.scale)
        return (y if self.bias is None else y + self.bias).reshape(*x.shape[:-1], -1)


def open_implementation(files: Files, form: str, threads: int) -> HuggingFace:
    implementation = HuggingFace(files, "f32", threads)
    gpt = implementation.gpt
    with torch.no_grad():
        for name, module in list(gpt.named_modules()):
            if isinstance(module, Conv1D):
                parent = gpt.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], PackedMatrix(module.weight.T, module.bias))
        gpt.lm_head = PackedMatrix(gpt.lm_head.weight, None)
    version = implementation.about.version.replace("f32", f"8-bit weights, {form}")
    implementation.about = dataclasses.replace(
        implementation.about, version=version, bits=8, bytes_per_token=weights_read(files.config)
    )
    return implementation

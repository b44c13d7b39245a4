"""The random model as a GGUF file of llama.cpp's `gpt2` architecture.

Knows names and formats of both sides; does not know llama.cpp itself.
"""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np

from benchmarks.peers.files import Files

__all__ = ["read_per_token", "write_gguf"]

NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """Return GGUF's name of one of our tensors."""
    stem, kind = name.rsplit(".", 1)
    if not stem.startswith("h."):
        return f"{NAMES[stem]}.{kind}"
    _, layer, inner = stem.split(".", 2)
    return f"blk.{layer}.{NAMES[inner]}.{kind}"


def kind_of(name: str, shape: tuple[int, ...], form: str) -> gguf.GGMLQuantizationType:
    """Return how a tensor is stored: positions and vectors always in float32.

    Only the blocks' matrices have 4 bits, as in our own store: the output matrix, which is the
    embedding, has 8.
    """
    if len(shape) == 1 or name == "wpe.weight":
        return gguf.GGMLQuantizationType.F32
    if form == "Q4_0" and name == "wte.weight":
        form = "Q8_0"
    return gguf.GGMLQuantizationType[form]


def write_gguf(path: Path, files: Files, form: str) -> None:
    """Write the model with its matrices in `form`, rows along the outputs."""
    c = files.config
    writer = gguf.GGUFWriter(path, "gpt2", use_temp_file=False)
    writer.add_context_length(c.n_positions)
    writer.add_embedding_length(c.n_embd)
    writer.add_feed_forward_length(4 * c.n_embd)
    writer.add_block_count(c.n_layer)
    writer.add_head_count(c.n_head)
    writer.add_layer_norm_eps(c.layer_norm_epsilon)
    writer.add_vocab_size(c.vocab_size)
    writer.add_tokenizer_model("none")
    shapes = {}
    for name, shape in files.weights.shapes.items():
        out_in = shape[::-1] if len(shape) == 2 and name.startswith("h.") else shape
        kind = shapes[name] = kind_of(name, shape, form)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = math.prod(shape) // block * size
        writer.add_tensor_info(
            gguf_name(name), stored_shape(out_in, kind), stored_dtype(kind), count, raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, kind in shapes.items():
        array = files.f32.float32(name)
        if array.ndim == 2 and name.startswith("h."):
            array = np.ascontiguousarray(array.T)
        writer.write_tensor_data(gguf.quantize(array, kind))
    writer.close()


def stored_shape(shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> tuple[int, ...]:
    """Return the shape of the array in the file: bytes if numpy has no such numbers."""
    if stored_dtype(kind) != np.uint8:
        return shape
    return gguf.quant_shape_to_byte_shape(shape, kind)


def stored_dtype(kind: gguf.GGMLQuantizationType) -> type:
    floats = {gguf.GGMLQuantizationType.F32: np.float32, gguf.GGMLQuantizationType.F16: np.float16}
    return floats.get(kind, np.uint8)


def read_per_token(path: Path) -> int:
    """Return the bytes of weights that a token reads: all but the position embeddings."""
    tensors = gguf.GGUFReader(path).tensors
    return sum(int(t.n_bytes) for t in tensors if not t.name.startswith("position_embd"))

"""A small sound model of Hugging Face's GPT-2, of which the tables damage one thing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.layout import Dims, shapes

CONFIG: dict[str, Any] = {
    "model_type": "gpt2",
    "vocab_size": 8,
    "n_positions": 4,
    "n_embd": 4,
    "n_layer": 1,
    "n_head": 2,
}
SHAPES = shapes(Dims(8, 4, 4, 1))


def header() -> dict[str, Any]:
    """The header of a safetensors file of all tensors, float32."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in SHAPES.items():
        begin, end = end, end + 4 * math.prod(shape)
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    return entries


VALUES = bytes(4 * sum(math.prod(shape) for shape in SHAPES.values()))
HEADER = json.dumps(header())


def write_weights(directory: Path, text: str | bytes = HEADER, values: bytes = VALUES) -> Path:
    """Write a model whose safetensors file has this header."""
    data = text.encode() if isinstance(text, str) else text
    content = len(data).to_bytes(8, "little") + data + values
    (directory / "model.safetensors").write_bytes(content)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    return directory


def write_json(directory: Path, name: str, text: str | bytes) -> Path:
    """Write a sound model, and one more file or one file in place of its own."""
    write_weights(directory)
    (directory / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return directory

"""The names of the variables of a TensorFlow SavedModel, and the tensors they map to.

Knows names; does not know files. The first TensorFlow port has queries, keys and values in three
kernels; its names are from the output of its conversion notebook (CPM-LM-TF2,
load_pytorch_v2.ipynb). Our export has the names of our Keras model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["OURS", "PORT", "Table", "layer_count", "sources", "strip_keras_prefix"]

Table = dict[str, tuple[str, ...]]
"""A tensor of a store, and the variables whose columns are concatenated to it; {0} is the layer."""

KERAS_PREFIX = re.compile(r"^(?:gpt(?:_\d+)?/)?(?:(embedding)_\d+(?=/))?")
"""The prefix of the model's name, and the number that Keras adds to the layer's name, if a process
creates a second model."""

# fmt: off
PORT: Table = {
    "wte.weight": ("embedding/embeddings",),
    "wpe.weight": ("position_embeddings",),
    "h.{0}.ln_1.weight": ("layer{0:02d}/LayerNorm_mlp_ln0/gamma",),
    "h.{0}.ln_1.bias": ("layer{0:02d}/LayerNorm_mlp_ln0/beta",),
    "h.{0}.attn.c_attn.weight": (
        "layer{0:02d}/attention/query_layer/kernel",
        "layer{0:02d}/attention/key_layer/kernel",
        "layer{0:02d}/attention/value_layer/kernel",
    ),
    "h.{0}.attn.c_attn.bias": (
        "layer{0:02d}/attention/query_layer/bias",
        "layer{0:02d}/attention/key_layer/bias",
        "layer{0:02d}/attention/value_layer/bias",
    ),
    "h.{0}.attn.c_proj.weight": ("layer{0:02d}/attention/context_projection_layer/kernel",),
    "h.{0}.attn.c_proj.bias": ("layer{0:02d}/attention/context_projection_layer/bias",),
    "h.{0}.ln_2.weight": ("layer{0:02d}/LayerNorm_mlp_ln1/gamma",),
    "h.{0}.ln_2.bias": ("layer{0:02d}/LayerNorm_mlp_ln1/beta",),
    "h.{0}.mlp.c_fc.weight": ("layer{0:02d}/intermediate/kernel",),
    "h.{0}.mlp.c_fc.bias": ("layer{0:02d}/intermediate/bias",),
    "h.{0}.mlp.c_proj.weight": ("layer{0:02d}/output/kernel",),
    "h.{0}.mlp.c_proj.bias": ("layer{0:02d}/output/bias",),
    "ln_f.weight": ("LayerNorm_final_norm/gamma",),
    "ln_f.bias": ("LayerNorm_final_norm/beta",),
}
OURS: Table = {
    "wte.weight": ("wte/embeddings",),
    "wpe.weight": ("wpe/embeddings",),
    "h.{0}.ln_1.weight": ("h_{0}/ln_1/gamma",),
    "h.{0}.ln_1.bias": ("h_{0}/ln_1/beta",),
    "h.{0}.attn.c_attn.weight": ("h_{0}/attention/qkv/kernel",),
    "h.{0}.attn.c_attn.bias": ("h_{0}/attention/qkv/bias",),
    "h.{0}.attn.c_proj.weight": ("h_{0}/attention/out/kernel",),
    "h.{0}.attn.c_proj.bias": ("h_{0}/attention/out/bias",),
    "h.{0}.ln_2.weight": ("h_{0}/ln_2/gamma",),
    "h.{0}.ln_2.bias": ("h_{0}/ln_2/beta",),
    "h.{0}.mlp.c_fc.weight": ("h_{0}/feed_forward/widen/kernel",),
    "h.{0}.mlp.c_fc.bias": ("h_{0}/feed_forward/widen/bias",),
    "h.{0}.mlp.c_proj.weight": ("h_{0}/feed_forward/narrow/kernel",),
    "h.{0}.mlp.c_proj.bias": ("h_{0}/feed_forward/narrow/bias",),
    "ln_f.weight": ("ln_f/gamma",),
    "ln_f.bias": ("ln_f/beta",),
}
# fmt: on


def strip_keras_prefix(name: str) -> str:
    """Return a variable's name without the parts that Keras generates.

    >>> strip_keras_prefix("gpt_1/embedding_2/embeddings")
    'embedding/embeddings'
    """
    return KERAS_PREFIX.sub(r"\1", name)


def layer_count(names: Iterable[str]) -> int:
    """Return the number of layers in the variable names of either program."""
    found = [re.match(r"(?:layer|h_)(\d{1,4})/", name) for name in names]
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def sources(table: Table, layers: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every tensor of a store, and the names of its variables."""
    for target, names in table.items():
        for layer in range(layers if "{0}" in target else 1):
            yield target.format(layer), tuple(name.format(layer) for name in names)

"""Load a store's weights into a Keras model.

Knows the store's tensor names and the model's variables; does not know the network. Imports Keras
only when called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.named import model_path
from cpm_lm.errors import ConfigError
from cpm_lm.gpt.backend import use_backend

if TYPE_CHECKING:
    from cpm_lm.gpt.gpt import GPT

__all__ = ["fill", "keras_model", "variables"]

DTYPES = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")

BLOCK: dict[str, Callable[[Any], Any]] = {
    "ln_1.weight": lambda block: block.ln_1.gamma,
    "ln_1.bias": lambda block: block.ln_1.beta,
    "attn.c_attn.weight": lambda block: block.attention.qkv.kernel,
    "attn.c_attn.bias": lambda block: block.attention.qkv.bias,
    "attn.c_proj.weight": lambda block: block.attention.out.kernel,
    "attn.c_proj.bias": lambda block: block.attention.out.bias,
    "ln_2.weight": lambda block: block.ln_2.gamma,
    "ln_2.bias": lambda block: block.ln_2.beta,
    "mlp.c_fc.weight": lambda block: block.feed_forward.widen.kernel,
    "mlp.c_fc.bias": lambda block: block.feed_forward.widen.bias,
    "mlp.c_proj.weight": lambda block: block.feed_forward.narrow.kernel,
    "mlp.c_proj.bias": lambda block: block.feed_forward.narrow.bias,
}
"""The variable of each tensor of a block. A reshape suffices: axes of heads keep the order."""


def keras_model(directory: str | Path | Store, *, dtype: str = "float32") -> GPT:
    """Load a store as a `keras.Model`: for `summary`, `fit`, gradients, `.keras` files.

    Runs on the backend that Keras already runs on, else the one in KERAS_BACKEND, else TensorFlow
    or JAX, whichever is installed.

    Args:
        directory: the directory of a converted model, its name (see `load`), or an open store.
        dtype: float32; float16 or bfloat16, which on a CPU only store weights and compute in
            float32, because 16-bit products are far slower there; mixed_float16 or
            mixed_bfloat16, which store float32 and compute in 16 bits, for training on a GPU or
            TPU.

    Raises:
        CheckpointError: there is no store, or it is damaged.
        ConfigError: the dtype is not one of these.
        EngineError: Keras or its backend is not installed.
    """
    if dtype not in DTYPES:
        raise ConfigError(
            "dtype is {dtype!r}; expected one of {dtypes}", dtype=dtype, dtypes=", ".join(DTYPES)
        )
    store = directory if isinstance(directory, Store) else Store.open(model_path(directory))
    use_backend()
    from cpm_lm.gpt.gpt import GPT
    from cpm_lm.gpt.policy import policy

    model = GPT(store.config, initial="zeros", dtype=policy(dtype))
    fill(model, store)
    return model


def fill(model: GPT, store: Store) -> None:
    """Assign a store's weights to a model of the same shape."""
    targets = variables(model)
    assert targets.keys() == set(store.names)
    for name, variable in targets.items():
        variable.assign(store.float32(name).reshape(variable.shape))


def variables(model: GPT) -> dict[str, Any]:
    """Return the model's variables by the tensor names of a store."""
    named = {"wte.weight": model.wte.embeddings, "wpe.weight": model.wpe.embeddings}
    for i, block in enumerate(model.blocks):
        named |= {f"h.{i}.{name}": of(block) for name, of in BLOCK.items()}
    return named | {"ln_f.weight": model.ln_f.gamma, "ln_f.bias": model.ln_f.beta}

"""A store's weights in a Keras model.

Knows the store's tensor names and the model's variables; does not import Keras before it is
called.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpm_lm.checkpoints.layouts.store import Store
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
"""A block's tensors by name. Numbers lie in the same order, cut by heads or not."""


def keras_model(directory: str | Path | Store, *, dtype: str = "float32") -> GPT:
    """Load a store as a plain `keras.Model`: for `summary`, `fit`, gradients, `.keras` files.

    Runs on the backend that KERAS_BACKEND names, by default on TensorFlow.

    Args:
        directory: a store made by `cpm convert`, or one that is open.
        dtype: float32; float16 or bfloat16, which on a CPU are only stored, as their products
            are far slower there than float32's; mixed_float16 or mixed_bfloat16, which store
            float32 and compute in 16 bits, for training on a GPU or TPU.

    Raises:
        CheckpointError: there is no store, or it is damaged.
        ConfigError: the dtype is not one of these.
        EngineError: Keras or its backend is not installed.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype!r}; expected one of {', '.join(DTYPES)}")
    store = directory if isinstance(directory, Store) else Store.open(directory)
    use_backend()
    from cpm_lm.gpt.gpt import GPT
    from cpm_lm.gpt.policy import policy

    model = GPT(store.config, initial="zeros", dtype=policy(dtype))
    fill(model, store)
    return model


def fill(model: GPT, store: Store) -> None:
    """Give a model of the same shape a store's weights."""
    targets = variables(model)
    assert targets.keys() == set(store.names)
    for name, variable in targets.items():
        variable.assign(store.float32(name).reshape(variable.shape))


def variables(model: GPT) -> dict[str, Any]:
    """Return the model's variables by the names of a store's tensors."""
    named = {"wte.weight": model.wte.embeddings, "wpe.weight": model.wpe.embeddings}
    for i, block in enumerate(model.blocks):
        named |= {f"h.{i}.{name}": of(block) for name, of in BLOCK.items()}
    return named | {"ln_f.weight": model.ln_f.gamma, "ln_f.bias": model.ln_f.beta}

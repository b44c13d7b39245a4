"""Keras dtype policies: the dtype in which a model stores weights, and that in which it computes.

Knows Keras and its devices; does not know the model.
"""

from __future__ import annotations

import keras

__all__ = ["StoredPolicy", "on_cpu", "policy"]


@keras.saving.register_keras_serializable("cpm_lm")
class StoredPolicy(keras.DTypePolicy):  # type: ignore[misc]
    """Weights in 16 bits, computation in float32: `stored_float16`, `stored_bfloat16`."""

    def _parse_name(self, name: str) -> tuple[str, str]:
        return "float32", name.removeprefix("stored_")


def on_cpu() -> bool:
    """Return whether Keras finds only CPUs."""
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def policy(dtype: str) -> keras.DTypePolicy:
    """Return the policy of a dtype on this machine.

    On a CPU, 16-bit models compute in float32: TensorFlow's float16 products are 16 times slower.
    """
    if dtype in ("float16", "bfloat16") and on_cpu():
        return StoredPolicy(f"stored_{dtype}")
    return keras.DTypePolicy(dtype)

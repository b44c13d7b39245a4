"""Choose the engine for a store, by name or automatically, and start it.

Knows the engines by name; imports an engine only when it is chosen.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.named import model_path
from cpm_lm.choices import CacheDtype, EngineName
from cpm_lm.engines.base import Engine
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import EngineError
from cpm_lm.installation import pip_install
from cpm_lm.languages import tr

__all__ = ["SlowEngineWarning", "open_engine", "start_engine"]


class SlowEngineWarning(UserWarning):
    """The engine that was chosen automatically is slow, because a faster one is not installed."""


def open_engine(
    directory: str | Path,
    *,
    engine: EngineName = EngineOptions.engine,
    threads: int | None = EngineOptions.threads,
    cache_dtype: CacheDtype | None = EngineOptions.cache_dtype,
    cache_bytes: int | None = EngineOptions.cache_bytes,
) -> Engine:
    """Load a store into an engine.

    Args:
        directory: the directory of a converted model, or its name, see `load`.
        engine: native, tensorflow, jax, reference or auto. For all options see `EngineOptions`.
        threads: the number of CPU threads; None for the engine's own choice.
        cache_dtype: the dtype of the KV cache, f32 (the default) or f16; native only.
        cache_bytes: the maximum size of one session's KV cache; native only.

    Raises:
        CheckpointError: there is no store, or it is damaged.
        EngineError: the engine is unknown, not installed, or cannot run as asked in this process.
    """
    options = EngineOptions(
        engine=engine, threads=threads, cache_dtype=cache_dtype, cache_bytes=cache_bytes
    )
    return start_engine(Store.open(model_path(directory)), options)


def start_engine(store: Store, options: EngineOptions) -> Engine:
    """Load an opened store into an engine; see `open_engine`."""
    name: str = options.engine
    if name == "auto":
        name = automatic()
        if name == "reference":
            warnings.warn(
                tr(
                    "the compiled kernels are not installed, so the reference engine "
                    "computes, many times more slowly; install a C++ compiler (GCC 12, Clang "
                    "15 or newer), then: {command}",
                    command=pip_install(),
                ),
                SlowEngineWarning,
                stacklevel=2,
            )
    if name != "native":
        options.refuse_native_options(name)
    return STARTERS[name](store, options)


def automatic() -> str:
    """Return the name of the first engine in PREFERENCE that can run on this machine."""
    return next(name for name, can_run in PREFERENCE if can_run())


def has_gpu() -> bool:
    """Return whether the CUDA driver reports a device; imports no framework."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return (
        driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    ) and count.value > 0


def _on_gpu(package: str) -> Callable[[], bool]:
    return lambda: all(map(find_spec, (package, "keras"))) and has_gpu()


def has_native() -> bool:
    """Return whether this installation contains the native kernels."""
    return find_spec("cpm_lm._native") is not None


def _native(store: Store, options: EngineOptions) -> Engine:
    try:
        from cpm_lm.engines.native.engine import open_native
    except ImportError as error:
        raise EngineError(
            "the native engine is not in this installation ({error}); use the "
            "reference engine, or install a C++ compiler (GCC 12, Clang 15 or "
            "newer), then, without CPM_NO_NATIVE: {command}",
            error=error,
            command=pip_install(),
        ) from None
    return open_native(store, options)


def _keras(backend: str) -> Callable[[Store, EngineOptions], Engine]:
    def start(store: Store, options: EngineOptions) -> Engine:
        from cpm_lm.engines.keras.engine import open_keras

        return open_keras(store, backend, options.thread_count)

    return start


def _reference(store: Store, options: EngineOptions) -> Engine:
    from threadpoolctl import threadpool_limits

    from cpm_lm.engines.reference import ReferenceEngine

    if (threads := options.thread_count) is not None:  # numpy's BLAS has one pool per process
        threadpool_limits(threads, "blas")
    return ReferenceEngine(store.config, {name: store.float32(name) for name in store.names})


STARTERS: dict[str, Callable[[Store, EngineOptions], Engine]] = {
    "native": _native,
    "tensorflow": _keras("tensorflow"),
    "jax": _keras("jax"),
    "reference": _reference,
}
"""The function that starts each engine, by name."""

PREFERENCE: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("jax", _on_gpu("jax")),
    ("tensorflow", _on_gpu("tensorflow")),
    ("native", lambda: has_native()),
    ("reference", lambda: True),
)
"""The order in which `auto` tries the engines, and whether each can run here."""

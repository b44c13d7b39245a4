"""Which engine runs a store: by name, or the best one that this machine has.

Knows the engines by name; imports none before it is chosen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.engines.base import Engine
from cpm_lm.engines.machine import MAX_THREADS, threads_from_environment
from cpm_lm.errors import EngineError

__all__ = ["open_engine"]


def open_engine(
    directory: str | Path,
    *,
    engine: str = "auto",
    threads: int | None = None,
    cache_dtype: str | None = None,
    cache_bytes: int | None = None,
) -> Engine:
    """Load a store into an engine.

    Args:
        directory: a store made by `cpm convert`.
        engine: native, tensorflow, jax or reference; auto for what suits this machine: one of the
            frameworks if it is installed and there is a GPU, else native if this installation has
            it, else reference.
        threads: how many threads compute on the CPU, 1 to 1024; None for what the environment
            variable CPM_THREADS says, or else the engine's own choice. All engines of a framework
            in one process share them.
        cache_dtype: how keys and values are kept, f32 (the default) or f16; native only.
        cache_bytes: the most memory for keys and values of one session; None for what the machine
            has left when it is needed; native only.

    Raises:
        CheckpointError: there is no store, or it is damaged.
        EngineError: the engine is unknown, not installed, or cannot run as asked in this process.
    """
    if threads is None:
        threads = threads_from_environment()
    elif not 1 <= threads <= MAX_THREADS:
        raise EngineError(f"threads is {threads}; 1 to {MAX_THREADS} were expected")
    name = automatic() if engine == "auto" else engine
    if name not in OPEN:
        raise EngineError(f"engine {name!r} is unknown; expected one of auto, {', '.join(OPEN)}")
    given = {"cache_dtype": cache_dtype, "cache_bytes": cache_bytes}
    options = {key: value for key, value in given.items() if value is not None}
    if options and name != "native":
        raise EngineError(
            f"{min(options)} was given, which the {name} engine does not have; "
            "leave it out, or ask for engine='native'"
        )
    return OPEN[name](directory, threads, **options)


def automatic() -> str:
    """Return the name of the engine that suits this machine."""
    return next(name for name, suits in PREFERENCE if suits())


def has_gpu() -> bool:
    """Ask the CUDA driver whether there is a device; no framework is imported for it."""
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
    """Return whether this installation was built with the kernels."""
    return find_spec("cpm_lm._native") is not None


def _native(directory: str | Path, threads: int | None, **options: Any) -> Engine:
    try:
        from cpm_lm.engines.native.engine import open_native
    except ImportError as error:
        raise EngineError(
            f"the native engine is not in this installation ({error}); install cpm-lm again with a "
            "C++ compiler and without CPM_NO_NATIVE, or use the reference engine"
        ) from None
    return open_native(directory, threads, **options)


def _keras(name: str) -> Callable[..., Engine]:
    def open_it(directory: str | Path, threads: int | None) -> Engine:
        from cpm_lm.engines.keras.engine import open_keras

        return open_keras(directory, name, threads)

    return open_it


def _reference(directory: str | Path, threads: int | None) -> Engine:
    from threadpoolctl import threadpool_limits

    from cpm_lm.engines.reference import ReferenceEngine

    store = Store.open(directory)
    if threads is not None:  # of numpy's BLAS, for the whole process
        threadpool_limits(threads, "blas")
    return ReferenceEngine(store.config, {name: store.float32(name) for name in store.names})


OPEN: dict[str, Callable[..., Engine]] = {
    "native": _native,
    "tensorflow": _keras("tensorflow"),
    "jax": _keras("jax"),
    "reference": _reference,
}
"""What `engine` may name, and how each is opened."""

PREFERENCE: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("jax", _on_gpu("jax")),
    ("tensorflow", _on_gpu("tensorflow")),
    ("native", lambda: has_native()),
    ("reference", lambda: True),
)
"""The order in which `auto` looks for an engine."""

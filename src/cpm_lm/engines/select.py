"""Which engine runs a store: by name, or the best one that this machine has.

Knows the engines by name; imports none before it is chosen.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from cpm_lm.checkpoints.store import Store
from cpm_lm.engines.base import Engine
from cpm_lm.errors import EngineError

__all__ = ["open_engine"]


def open_engine(
    directory: str | Path, *, engine: str = "auto", threads: int | None = None
) -> Engine:
    """Load a store into an engine.

    Args:
        directory: a store made by `cpm convert`.
        engine: tensorflow, jax or reference; auto for the first of them that suits this machine:
            one of the frameworks if it is installed and there is a GPU, else the reference.
        threads: how many threads compute on the CPU; None for the engine's own choice. All
            engines of a framework in one process share them.

    Raises:
        CheckpointError: there is no store, or it is damaged.
        EngineError: the engine is unknown, not installed, or cannot run as asked in this process.
    """
    if threads is not None and threads < 1:
        raise EngineError(f"threads is {threads}; at least 1 was expected")
    name = automatic() if engine == "auto" else engine
    if name not in OPEN:
        raise EngineError(f"engine {name!r} is unknown; expected one of auto, {', '.join(OPEN)}")
    return OPEN[name](directory, threads)


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


def _keras(name: str) -> Callable[[str | Path, int | None], Engine]:
    def open_it(directory: str | Path, threads: int | None) -> Engine:
        from cpm_lm.engines.keras import open_keras

        return open_keras(directory, name, threads)

    return open_it


def _reference(directory: str | Path, threads: int | None) -> Engine:
    from threadpoolctl import threadpool_limits

    from cpm_lm.engines.reference import ReferenceEngine

    store = Store.open(directory)
    if threads is not None:  # of numpy's BLAS, for the whole process
        threadpool_limits(threads, "blas")
    return ReferenceEngine(store.config, {name: store.float32(name) for name in store.names})


OPEN: dict[str, Callable[[str | Path, int | None], Engine]] = {
    "tensorflow": _keras("tensorflow"),
    "jax": _keras("jax"),
    "reference": _reference,
}
"""What `engine` may name, and how each is opened."""

PREFERENCE: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("jax", _on_gpu("jax")),
    ("tensorflow", _on_gpu("tensorflow")),
    ("reference", lambda: True),
)
"""The order in which `auto` looks for an engine."""

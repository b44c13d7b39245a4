"""Keras with the backend that is wanted: chosen before Keras is imported, and never changed.

Knows the frameworks by name; imports them only when called.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from cpm_lm.errors import EngineError

__all__ = ["BACKENDS", "use_backend"]

BACKENDS = ("tensorflow", "jax")

JAX_THREADS = "PJRT_NPROC"


def use_backend(name: str | None = None, threads: int | None = None) -> Any:
    """Import Keras on a backend and return the module.

    Args:
        name: tensorflow or jax; None for what Keras runs on already, or KERAS_BACKEND names, or
            else the first of these two that is installed.
        threads: how many threads the backend computes with on the CPU; None for its own choice.

    Raises:
        EngineError: the backend is not installed; Keras already runs on another one in this
            process; or the backend has started with another number of threads.
    """
    if running := _running():
        if running != name and (name or running not in BACKENDS):
            raise EngineError(
                f"Keras already runs on {running} in this process, and {name or 'tensorflow'} was "
                "asked for; Keras keeps one backend per process: start another process"
            )
    else:
        wanted = name or os.environ.get("KERAS_BACKEND") or _first_installed()
        _require(wanted)
        os.environ["KERAS_BACKEND"] = wanted
        if wanted == "tensorflow":
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _no_banners():
        keras = importlib.import_module("keras")
        if threads is not None:
            THREADS[keras.config.backend()](threads)
        keras.distribution.list_devices()  # what is said about missing GPUs is said here
    return keras


def _tensorflow_threads(threads: int) -> None:
    settings = importlib.import_module("tensorflow").config.threading
    if settings.get_intra_op_parallelism_threads() == threads:
        return
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        raise _started("TensorFlow", threads) from None


def _jax_threads(threads: int) -> None:
    # The CPU client reads this variable when it starts; there is no other way to tell it.
    if os.environ.get(JAX_THREADS) == str(threads):
        return
    if importlib.import_module("jax._src.xla_bridge").backends_are_initialized():
        raise _started("JAX", threads)
    os.environ[JAX_THREADS] = str(threads)


def _started(framework: str, threads: int) -> EngineError:
    return EngineError(
        f"{framework} has already started with another number of threads than {threads}; "
        "name the number before anything in this process uses it"
    )


THREADS = {"tensorflow": _tensorflow_threads, "jax": _jax_threads}


def _running() -> str | None:
    keras = sys.modules.get("keras")
    return str(keras.config.backend()) if keras else None


def _first_installed() -> str:
    return next((name for name in BACKENDS if find_spec(name)), BACKENDS[0])


def _require(name: str) -> None:
    if name not in BACKENDS:
        raise EngineError(
            f"KERAS_BACKEND is {name!r}; expected one of {', '.join(BACKENDS)}, or unset"
        )
    for package in (name, "keras"):
        if find_spec(package) is None:
            raise EngineError(f"{package} is not installed; pip install 'cpm-lm[{name}]'")


@contextmanager
def _no_banners() -> Iterator[None]:
    """Hold back what native libraries print while they load; print it after all on failure.

    TensorFlow writes some lines before it reads its own log level.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as banners:
        os.dup2(banners.fileno(), 2)
        try:
            yield
        except BaseException:
            banners.seek(0)
            os.write(kept, banners.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)

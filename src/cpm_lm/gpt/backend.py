"""Import Keras on a chosen backend; one process has one backend.

Knows the frameworks by name and their thread settings; imports them only when called.
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
from cpm_lm.installation import pip_install

__all__ = ["BACKENDS", "use_backend"]

BACKENDS = ("tensorflow", "jax")

JAX_THREADS = "PJRT_NPROC"
"""The environment variable with the number of threads of JAX's CPU client."""


def use_backend(name: str | None = None, threads: int | None = None) -> Any:
    """Import Keras on a backend and return the module.

    Args:
        name: tensorflow or jax; None for the backend that Keras already runs on, else the one in
            KERAS_BACKEND, else the first of these two that is installed.
        threads: the number of CPU threads of the backend; None for its own choice.

    Raises:
        EngineError: the backend is not installed; Keras already runs on another one in this
            process; or the backend has started with another number of threads.
    """
    if running := _running():
        if running != name and (name or running not in BACKENDS):
            raise EngineError(
                "Keras already runs on {running} in this process, and {name} was asked "
                "for; Keras keeps one backend per process: start another process",
                running=running,
                name=name or "tensorflow",
            )
    else:
        backend = name or os.environ.get("KERAS_BACKEND") or _first_installed()
        _check_installed(backend)
        os.environ["KERAS_BACKEND"] = backend
        if backend == "tensorflow":
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _stderr_suppressed():
        keras = importlib.import_module("keras")
        if threads is not None:
            SET_THREADS[keras.config.backend()](threads)
        keras.distribution.list_devices()  # here, so that warnings about GPUs are suppressed
    return keras


def _set_tensorflow_threads(threads: int) -> None:
    settings = importlib.import_module("tensorflow").config.threading
    if settings.get_intra_op_parallelism_threads() == threads:
        return
    try:
        settings.set_intra_op_parallelism_threads(threads)
        settings.set_inter_op_parallelism_threads(threads)
    except RuntimeError:
        raise _already_started("TensorFlow", threads) from None


def _set_jax_threads(threads: int) -> None:
    # The CPU client reads the variable when it starts; JAX has no function for it.
    if os.environ.get(JAX_THREADS) == str(threads):
        return
    if importlib.import_module("jax._src.xla_bridge").backends_are_initialized():
        raise _already_started("JAX", threads)
    os.environ[JAX_THREADS] = str(threads)


def _already_started(framework: str, threads: int) -> EngineError:
    return EngineError(
        "{framework} has already started with another number of threads than "
        "{threads}; set the number before anything in this process uses it",
        framework=framework,
        threads=threads,
    )


SET_THREADS = {"tensorflow": _set_tensorflow_threads, "jax": _set_jax_threads}


def _running() -> str | None:
    keras = sys.modules.get("keras")
    return str(keras.config.backend()) if keras else None


def _first_installed() -> str:
    return next((name for name in BACKENDS if find_spec(name)), BACKENDS[0])


def _check_installed(name: str) -> None:
    if name not in BACKENDS:
        raise EngineError(
            "KERAS_BACKEND is {name!r}; expected one of {backends}, or unset",
            name=name,
            backends=", ".join(BACKENDS),
        )
    for package in (name, "keras"):
        if find_spec(package) is None:
            raise EngineError(
                "{package} is not installed; {command}",
                package=package,
                command=pip_install(name),
            )


@contextmanager
def _stderr_suppressed() -> Iterator[None]:
    """Suppress what native libraries write to stderr while they load; write it on an exception.

    TensorFlow writes some lines before it reads its log level. The file descriptor is redirected,
    because native code does not use `sys.stderr`.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as output:
        os.dup2(output.fileno(), 2)
        try:
            yield
        except BaseException:
            output.seek(0)
            os.write(stderr, output.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)

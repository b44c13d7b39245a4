"""The interface of a framework that runs the Keras model: one step, a KV cache, logits.

Knows arrays; does not know the frameworks, which `on_jax` and `on_tensorflow` do.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cpm_lm.shapes import Bool, Float32, Int32

__all__ = ["Compilations", "Program"]


class Compilations:
    """How often a framework traced the model, and the time of each shape's first call.

    Attributes:
        traces: how many times a framework traced one of the functions, once per shape.
        seconds: by shape, the duration of its first call, compilation included.
    """

    def __init__(self) -> None:
        self.traces = 0
        self.seconds: dict[Hashable, float] = {}

    @contextmanager
    def timed(self, shape: Hashable) -> Iterator[None]:
        """Record the duration if this is the shape's first call."""
        start = time.perf_counter()
        yield
        self.seconds.setdefault(shape, time.perf_counter() - start)


class Program(abc.ABC):
    """The model in one framework. Arrays of type Any are the framework's own."""

    def __init__(self) -> None:
        self.compilations = Compilations()

    @abc.abstractmethod
    def rows(self, count: int) -> int:
        """Return the number of rows to which a call of `count` tokens is padded."""

    @abc.abstractmethod
    def cache(self, slots: int, old: Any = None) -> Any:
        """Return a cache with this many slots that begins with the slots of `old`."""

    @abc.abstractmethod
    def step(
        self,
        tokens: Int32[np.ndarray, "1 T"],
        positions: Int32[np.ndarray, "1 T"],
        visible: Bool[np.ndarray, "1 T K"],
        cache: Any,
    ) -> tuple[Any, Any]:
        """Return the last hidden states [1, T, D], and keys and values; only reads the cache."""

    @abc.abstractmethod
    def write(self, cache: Any, new: Any, nodes: Int32[np.ndarray, " n"]) -> Any:
        """Write the first n new keys and values to these slots, in place; return the cache."""

    @abc.abstractmethod
    def logits(self, hidden: Any, at: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits of these rows."""

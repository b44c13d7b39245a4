"""What a framework must offer to run the Keras model: one step, a cache, logits.

Knows arrays; `on_jax` and `on_tensorflow` know the frameworks.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int32

__all__ = ["Compilations", "Program"]


class Compilations:
    """How often a framework compiled, and how long the calls that did so took.

    Attributes:
        traces: how many times the framework asked for the network; it does so once a shape.
        seconds: by shape, the duration of its first call, compilation and computation together.
    """

    def __init__(self) -> None:
        self.traces = 0
        self.seconds: dict[Hashable, float] = {}

    @contextmanager
    def timed(self, shape: Hashable) -> Iterator[None]:
        """Note the duration if this is the shape's first call."""
        start = time.perf_counter()
        yield
        self.seconds.setdefault(shape, time.perf_counter() - start)


class Program(abc.ABC):
    """The model in one framework. Arrays named Any are the framework's own."""

    def __init__(self) -> None:
        self.compilations = Compilations()

    @abc.abstractmethod
    def rows(self, count: int) -> int:
        """Return how many rows a call of `count` tokens is padded to."""

    @abc.abstractmethod
    def cache(self, slots: int, old: Any = None) -> Any:
        """Return a cache with this many slots; the first ones are those of a smaller one."""

    @abc.abstractmethod
    def step(
        self,
        tokens: Int32[np.ndarray, "1 T"],
        positions: Int32[np.ndarray, "1 T"],
        visible: Bool[np.ndarray, "1 T K"],
        cache: Any,
    ) -> tuple[Any, Any]:
        """Return the last hidden states [1, T, D], and keys and values; the cache is only read."""

    @abc.abstractmethod
    def write(self, cache: Any, new: Any, nodes: Int32[np.ndarray, " n"]) -> Any:
        """Return the cache with the first n keys and values in these slots, written in place."""

    @abc.abstractmethod
    def logits(self, hidden: Any, at: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        """Return the next-token scores of these rows."""

"""What a decoding algorithm and a scheduler say to each other.

An algorithm is a generator: it yields an `Extend`, receives an `Extended`, and returns its result.
It never sees an engine or a session; whoever drives it may slice its requests or join them with
others'. What it still holds when it ends, however it ends, is released for it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int32

__all__ = ["Algorithm", "Extend", "Extended"]

Result = TypeVar("Result")


def _no_nodes() -> Int32[np.ndarray, " K"]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extend:
    """Nodes to release, then tokens to add, in the terms of `Session.extend`."""

    tokens: Int32[np.ndarray, " T"]
    """Ids of the new tokens; may be empty when there is only something to release."""
    parents: Int32[np.ndarray, " T"]
    """A live node of this algorithm, -1 for a root, or -2-k for token k of this request."""
    logits_at: Int32[np.ndarray, " R"]
    """Indices into `tokens` whose next-token logits are wanted."""
    release: Int32[np.ndarray, " K"] = field(default_factory=_no_nodes)
    """Live nodes to release, before anything is added, together with their descendants."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extended:
    """What `Session.extend` returned for a request."""

    nodes: Int32[np.ndarray, " T"]
    """The new tokens' nodes."""
    logits: Float32[np.ndarray, "R V"]
    """Next-token logits after each of `logits_at`."""


Algorithm = Generator[Extend, Extended, Result]

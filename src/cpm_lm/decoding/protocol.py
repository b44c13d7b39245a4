"""What a decoding algorithm and a scheduler say to each other.

An algorithm is a generator: it yields an `Extend`, receives an `Extended`, and returns its result.
It never sees an engine or a session; whoever drives it may slice what it asks for or join it with
others'. What it still holds when it ends, however it ends, is released for it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Int32

from cpm_lm.engines.wants import Answer, Want

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
    """A live node of this algorithm, -1 for a root, or -2-k for token k of `tokens`."""
    wants: Sequence[Want] = ()
    """What is wanted of the tokens' next-token distributions."""
    release: Int32[np.ndarray, " K"] = field(default_factory=_no_nodes)
    """Live nodes to release, before anything is added, together with their descendants."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extended:
    """What `Session.extend` returned."""

    nodes: Int32[np.ndarray, " T"]
    """The new tokens' nodes."""
    answers: Sequence[Answer]
    """One for each want."""


Algorithm = Generator[Extend, Extended, Result]

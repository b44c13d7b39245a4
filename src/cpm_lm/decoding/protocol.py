"""The protocol between a decoding algorithm and the scheduler.

An algorithm is a generator: it yields an `Extend`, receives an `Extended`, and returns its result.
It never sees an engine or a session. The scheduler may slice its requests, or join them with those
of other algorithms. When an algorithm ends, for whatever reason, the scheduler releases its nodes.
Knows wants and node ids; does not know how a request is computed.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from cpm_lm.engines.wants import Answer, Want
from cpm_lm.shapes import Int32

__all__ = ["Algorithm", "Extend", "Extended"]

Result = TypeVar("Result")


def _no_nodes() -> Int32[np.ndarray, " K"]:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Extend:
    """Nodes to release, then tokens to add, in the terms of `Session.extend`."""

    tokens: Int32[np.ndarray, " T"]
    """Ids of the new tokens; empty if the request only releases nodes."""
    parents: Int32[np.ndarray, " T"]
    """A live node of this algorithm, -1 for a root, or -2-k for token k of `tokens`."""
    wants: Sequence[Want] = ()
    """The wants to answer; their indices are those of `tokens`."""
    release: Int32[np.ndarray, " K"] = field(default_factory=_no_nodes)
    """Live nodes to release with their descendants, before the tokens are added."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extended:
    """The reply to an `Extend`: the results of `Session.extend`."""

    nodes: Int32[np.ndarray, " T"]
    """The new tokens' nodes."""
    answers: Sequence[Answer]
    """One answer per want."""


Algorithm = Generator[Extend, Extended, Result]

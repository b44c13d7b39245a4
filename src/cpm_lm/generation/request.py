"""The interface of a generation request: checked text and options, an algorithm and a result.

Knows algorithms; does not know engines or sessions. The caller runs the algorithm on a scheduler
and polls the request for results that have become certain. `Model` runs one request; a server can
run many on one scheduler.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Generic, TypeVar

from cpm_lm.decoding.protocol import Algorithm

__all__ = ["GenerationRequest"]

Event = TypeVar("Event")
Result = TypeVar("Result")


class GenerationRequest(abc.ABC, Generic[Event, Result]):
    """A request whose text and options are checked; nothing is computed yet."""

    node_budget: int
    """The maximum number of live nodes of the algorithm; a session needs this capacity."""

    @abc.abstractmethod
    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that computes the result.

        May be called again, as after preemption: the state is reset, but `poll` does not repeat
        what it has returned.
        """

    @abc.abstractmethod
    def poll(self) -> Sequence[Event]:
        """Return the results that have become certain since the last call."""

    @abc.abstractmethod
    def result(self) -> Result:
        """Return the result, once the algorithm has ended."""

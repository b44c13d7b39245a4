"""What a person asks for, as one object: checked text and options, an algorithm, and its result.

Knows nothing of engines or sessions: whoever has one runs the algorithm, and asks from time to
time what has become certain. `Model` runs one request; a server feeds many to one scheduler.
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
    """Everything checked, nothing computed yet."""

    node_budget: int
    """The most nodes that the algorithm holds at once; a session must have room for them."""

    @abc.abstractmethod
    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that does the work.

        May be called again, as after the work was stopped and its nodes were taken away: all state
        begins anew, and `poll` does not repeat what it gave.
        """

    @abc.abstractmethod
    def poll(self) -> Sequence[Event]:
        """Return what has become certain since the last time."""

    @abc.abstractmethod
    def result(self) -> Result:
        """Return the result, once the algorithm has ended."""

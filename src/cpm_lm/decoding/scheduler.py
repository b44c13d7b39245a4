"""Drives decoding algorithms over one session: one to its end, or many together, fairly.

Long requests are cut into slices, so that a long prompt does not hold up the others. Algorithms
may be added at any time between two steps. Knows requests, nodes and tokens' number; does not
know what the algorithms do, nor text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float32, Int32

from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.engines.base import Session
from cpm_lm.errors import CapacityError, CpmError, RequestError

__all__ = ["Job", "Scheduler", "run"]

Result = TypeVar("Result")


class Job(Generic[Result]):
    """An algorithm under way."""

    def __init__(self, algorithm: Algorithm[Result], nodes: int) -> None:
        self.nodes = nodes
        """The most nodes it may hold at once."""
        self.done = False
        self._algorithm = algorithm
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._roots: set[int] = set()
        self._request: Extend | None = None
        self._computed: Int32[np.ndarray, " C"] = np.zeros(0, np.int32)
        self._logits: Float32[np.ndarray, "R V"] = np.zeros((0, 0), np.float32)

    def result(self) -> Result:
        """Return what the algorithm returned, or raise what it raised."""
        assert self.done, "the job has not ended"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None only where Result allows it

    @property
    def left(self) -> int:
        """Tokens of the current request that are not computed yet."""
        return len(self._request.tokens) - len(self._computed) if self._request else 0

    def _slice(self, count: int) -> tuple[Any, Any, Any, Any]:
        """Return tokens, parents, wanted logits and their rows for the next `count` tokens."""
        assert self._request is not None
        start = len(self._computed)
        stop = start + count
        parents = self._request.parents[start:stop].copy()
        inner = -2 - parents  # the place in the request of a parent of this request
        before = (inner >= 0) & (inner < start)
        parents[before] = self._computed[inner[before]]
        parents[inner >= start] += start
        wanted = self._request.logits_at
        rows = np.flatnonzero((start <= wanted) & (wanted < stop))
        return self._request.tokens[start:stop], parents, wanted[rows] - start, rows

    def _receive(self, nodes: Any, roots: Any, rows: Any, logits: Any) -> None:
        """Take in what was computed of a slice."""
        assert self._request is not None
        self._roots.update(roots.tolist())
        self._computed = np.concatenate([self._computed, nodes])
        if len(nodes) == len(self._request.tokens):
            self._logits = logits  # the whole request at once: no copy
        elif len(rows):
            if not self._logits.size:
                shape = (len(self._request.logits_at), logits.shape[1])
                self._logits = np.empty(shape, np.float32)
            self._logits[rows] = logits


class Scheduler:
    """A session, and the algorithms that share it.

    A context manager: leaving it ends all algorithms and releases all their nodes.

    Args:
        session: used by nobody else meanwhile.
        max_tokens: the most tokens computed in one step.
    """

    def __init__(self, session: Session, *, max_tokens: int = 256) -> None:
        if max_tokens < 1:
            raise RequestError(f"max_tokens is {max_tokens}; at least 1 was expected")
        self.session = session
        self.max_tokens = max_tokens
        self._waiting: deque[Job[Any]] = deque()
        self._running: deque[Job[Any]] = deque()
        self._free = session.capacity - session.live

    def add(self, algorithm: Algorithm[Result], *, nodes: int | None = None) -> Job[Result]:
        """Take in an algorithm; it starts as soon as the nodes it needs are free, in turn.

        Args:
            algorithm: a generator that has not been started.
            nodes: the most nodes it holds at once; by default, all of the session.

        Raises:
            CapacityError: the session has not that many.
        """
        nodes = self.session.capacity if nodes is None else nodes
        if nodes > self.session.capacity:
            algorithm.close()
            raise CapacityError(
                f"{nodes} nodes are needed, and the session has {self.session.capacity}; "
                "ask for less, or open it with a larger capacity"
            )
        job = Job(algorithm, nodes)
        self._waiting.append(job)
        return job

    def step(self) -> list[Job[Any]]:
        """Compute up to `max_tokens` tokens; return the jobs that ended.

        An error that one job causes ends that job alone and is raised by its `result()`.
        """
        ended = self._admit()
        if shares := self._shares():
            self._compute(shares)
            self._running.rotate(-1)
        for job in list(self._running):
            if not (job.done or job.left):
                self._resume(job)
        ended += [job for job in self._running if job.done]
        self._running = deque(job for job in self._running if not job.done)
        return ended

    def cancel(self, job: Job[Any]) -> None:
        """End a job before its time and release its nodes."""
        if job.done:
            return
        if job in self._waiting:
            self._waiting.remove(job)
            job._algorithm.close()
            job.done = True
        else:
            self._running.remove(job)
            self._end(job)
        job._error = job._error or RequestError("the job was cancelled")

    def close(self) -> None:
        """End all jobs and release their nodes."""
        for job in [*self._running, *self._waiting]:
            self.cancel(job)

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _admit(self) -> list[Job[Any]]:
        """Start waiting jobs, first come first served, while their nodes are free."""
        ended = []
        while self._waiting and self._waiting[0].nodes <= self._free:
            job = self._waiting.popleft()
            self._free -= job.nodes
            self._running.append(job)
            self._resume(job)
            if job.done:
                self._running.remove(job)
                ended.append(job)
        return ended

    def _resume(self, job: Job[Any]) -> None:
        """Hand over the reply, if there is one, and take the next request or the result."""
        try:
            if job._request is None:
                request = next(job._algorithm)
            else:
                request = job._algorithm.send(Extended(nodes=job._computed, logits=job._logits))
            self._begin(job, request)
        except StopIteration as stop:
            job._result = stop.value
            self._end(job)
        except Exception as error:  # the others go on; `result()` raises it
            job._error = error
            self._end(job)

    def _begin(self, job: Job[Any], request: Extend) -> None:
        if len(request.release):
            self.session.release(request.release)
            job._roots.difference_update(request.release.tolist())
        job._request = request
        job._computed = np.zeros(0, np.int32)
        job._logits = np.zeros((0, self.session.config.vocab_size), np.float32)

    def _shares(self) -> list[tuple[Job[Any], int]]:
        """Divide a step's tokens: small requests whole, large ones an equal part of the rest.

        What does not divide goes to the first in line, and they take turns at being that.
        """
        shares = {job: 0 for job in self._running if job.left}
        short, budget = list(shares), self.max_tokens
        while short and budget:
            part = max(1, budget // len(short))
            for job in short:
                more = min(part, job.left - shares[job], budget)
                shares[job] += more
                budget -= more
            short = [job for job in short if shares[job] < job.left]
        return [(job, share) for job, share in shares.items() if share]

    def _compute(self, shares: Sequence[tuple[Job[Any], int]]) -> None:
        """Compute all shares in one call, or each alone if one of them makes the call fail."""
        try:
            self._extend(shares)
        except CpmError as error:
            if len(shares) == 1:
                shares[0][0]._error = error
                self._end(shares[0][0])
            else:
                for share in shares:
                    self._compute([share])

    def _extend(self, shares: Sequence[tuple[Job[Any], int]]) -> None:
        tokens, parents, wanted, rows, start = [], [], [], [], 0
        for job, count in shares:
            part, above, at, row = job._slice(count)
            above[above < -1] -= start
            tokens.append(part)
            parents.append(above)
            wanted.append(at + start)
            rows.append(row)
            start += count
        nodes, logits = self.session.extend(
            np.concatenate(tokens), np.concatenate(parents), np.concatenate(wanted)
        )
        for (job, count), above, row in zip(shares, parents, rows, strict=True):
            fresh, nodes = nodes[:count], nodes[count:]
            own, logits = logits[: len(row)], logits[len(row) :]
            job._receive(fresh, fresh[above == -1], row, own)

    def _end(self, job: Job[Any]) -> None:
        """Close the algorithm and release what it holds."""
        job.done = True
        self._free += job.nodes
        try:
            job._algorithm.close()
        finally:
            if job._roots:
                self.session.release(np.array(sorted(job._roots), np.int32))
                job._roots.clear()


def run(session: Session, algorithm: Algorithm[Result], *, max_tokens: int = 256) -> Result:
    """Drive one algorithm to its end and return its result; its nodes are released in any case."""
    with Scheduler(session, max_tokens=max_tokens) as scheduler:
        job = scheduler.add(algorithm, nodes=session.capacity - session.live)
        while not job.done:
            scheduler.step()
    return job.result()

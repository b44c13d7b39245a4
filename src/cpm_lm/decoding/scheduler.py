"""Run decoding algorithms on one session: one to its end, or several concurrently and fairly.

Long requests are sliced, so that the prefill of a long prompt does not delay the other algorithms.
Algorithms may be added between any two steps. Knows requests and nodes; does not know what the
algorithms compute, nor text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.engines.base import Session
from cpm_lm.engines.wants import Answer, Want
from cpm_lm.errors import CapacityError, CpmError, RequestError
from cpm_lm.shapes import Int32

__all__ = ["Job", "Scheduler", "run"]

Result = TypeVar("Result")


class Job(Generic[Result]):
    """An algorithm in the scheduler: waiting, running or done."""

    def __init__(self, algorithm: Algorithm[Result], nodes: int) -> None:
        self.nodes = nodes
        """The maximum number of live nodes of the algorithm."""
        self.done = False
        self._algorithm = algorithm
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._roots: set[int] = set()
        self._request: Extend | None = None
        self._computed: Int32[np.ndarray, " C"] = np.zeros(0, np.int32)
        self._parts: list[list[tuple[Any, Answer]]] = []
        """The partial answers of each want of the request: the rows, and their answer."""

    def result(self) -> Result:
        """Return the algorithm's result, or raise its exception."""
        assert self.done, "the job has not ended"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None only where Result allows it

    @property
    def left(self) -> int:
        """The number of tokens of the current request that are not computed yet."""
        return len(self._request.tokens) - len(self._computed) if self._request else 0

    def _slice(self, count: int, offset: int) -> _Slice:
        """Return the next `count` tokens of the request, with parents for a joined call.

        The request of the example is a chain of three tokens below node 9. The first slice has two
        tokens, after 10 tokens of other jobs: its token 0 is token 10 of the call, so parent -2
        becomes -12. Then tokens 0 and 1 are nodes 20 and 21, and the second slice begins the call.

        >>> def algorithm():
        ...     yield Extend(
        ...         tokens=np.array([5, 6, 7], np.int32),
        ...         parents=np.array([9, -2, -3], np.int32),
        ...     )
        >>> job = Job(algorithm(), nodes=3)
        >>> job._request = next(job._algorithm)
        >>> job._slice(2, offset=10).parents.tolist()
        [9, -12]
        >>> job._computed = np.array([20, 21], np.int32)
        >>> job._slice(1, offset=0).parents.tolist()
        [21]

        Args:
            count: the number of tokens.
            offset: the number of tokens of other jobs before them in the call.
        """
        assert self._request is not None
        start = len(self._computed)
        stop = start + count
        parents = self._request.parents[start:stop].copy()
        index = -2 - parents  # of a parent among the request's tokens; negative for other parents
        computed = (index >= 0) & (index < start)
        roots = parents == -1
        parents[computed] = self._computed[index[computed]]
        parents[index >= start] += start - offset
        wants = []
        for i, want in enumerate(self._request.wants):
            rows = np.flatnonzero((start <= want.at) & (want.at < stop))
            if len(rows):
                wants.append((i, rows, want.part(rows, start - offset)))
        return _Slice(self, self._request.tokens[start:stop], parents, roots, wants)

    def _receive(self, part: _Slice, nodes: Any, answers: Sequence[Answer]) -> None:
        """Record the nodes and the answers of a slice."""
        self._roots.update(nodes[part.roots].tolist())
        self._computed = np.concatenate([self._computed, nodes])
        for (i, rows, _), answer in zip(part.wants, answers, strict=True):
            self._parts[i].append((rows, answer))

    def _reply(self, vocab_size: int) -> Extended:
        """Return the reply to the request, once all its tokens are computed."""
        assert self._request is not None
        answers = [
            want.join_or_empty(parts, vocab_size)
            for want, parts in zip(self._request.wants, self._parts, strict=True)
        ]
        return Extended(nodes=self._computed, answers=answers)


@dataclass(frozen=True, eq=False)
class _Slice:
    """A part of a job's request, with indices for a joined call."""

    job: Job[Any]
    tokens: Any
    parents: Any
    roots: Any
    """bool[T]: which of the tokens are roots."""
    wants: list[tuple[int, Any, Want]]
    """The index of a want in the request, its rows in the slice, and the want for these rows."""


class Scheduler:
    """A session, and the algorithms that share it.

    A context manager: on exit it closes all algorithms and releases their nodes.

    Args:
        session: not to be used elsewhere at the same time.
        max_tokens: the maximum number of tokens of one step; by default one slice of the session.
    """

    def __init__(self, session: Session, *, max_tokens: int | None = None) -> None:
        self.session = session
        self.max_tokens = session.slice_tokens if max_tokens is None else max_tokens
        if self.max_tokens < 1:
            raise RequestError(
                "max_tokens is {max_tokens}; at least 1 was expected", max_tokens=max_tokens
            )
        self._waiting: deque[Job[Any]] = deque()
        self._running: deque[Job[Any]] = deque()
        self._free = session.capacity - session.live

    def add(self, algorithm: Algorithm[Result], *, nodes: int | None = None) -> Job[Result]:
        """Add an algorithm to the queue; it starts when the nodes it needs are free.

        Args:
            algorithm: a generator that has not been started.
            nodes: its maximum number of live nodes; by default the session's capacity.

        Raises:
            CapacityError: the session's capacity is less.
        """
        nodes = self.session.capacity if nodes is None else nodes
        if nodes > self.session.capacity:
            algorithm.close()
            raise CapacityError(
                "{nodes} nodes are needed, and the session has {capacity}; ask for less, "
                "or open it with a larger capacity",
                nodes=nodes,
                capacity=self.session.capacity,
            )
        job = Job(algorithm, nodes)
        self._waiting.append(job)
        return job

    def step(self) -> list[Job[Any]]:
        """Compute up to `max_tokens` tokens; return the jobs that ended.

        An error that one job causes ends only that job; its `result()` raises it.
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
        """Cancel a job and release its nodes; its `result()` then raises RequestError."""
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
        """Cancel all jobs and release their nodes."""
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
        """Start waiting jobs in order while their nodes are free; return those that end at once."""
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
        """Send the reply, if any, to the algorithm; receive its next request or its result."""
        try:
            if job._request is None:
                request = next(job._algorithm)
            else:
                request = job._algorithm.send(job._reply(self.session.config.vocab_size))
            self._begin(job, request)
        except StopIteration as stop:
            job._result = stop.value
            self._end(job)
        except Exception as error:  # other jobs continue; this job's `result()` raises it
            job._error = error
            self._end(job)

    def _begin(self, job: Job[Any], request: Extend) -> None:
        if len(request.release):
            self.session.release(request.release)
            job._roots.difference_update(request.release.tolist())
        job._request = request
        job._computed = np.zeros(0, np.int32)
        job._parts = [[] for _ in request.wants]

    def _shares(self) -> list[tuple[Job[Any], int]]:
        """Divide the tokens of a step: small requests whole, large ones equal shares of the rest.

        The remainder goes to the first jobs in the queue, which is rotated after every step.
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
        """Compute all shares in one call; if it fails, each in its own call, to find the cause."""
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
        """Compute all shares as one call: the tokens and the wants of all slices joined."""
        starts = np.cumsum([0, *(count for _, count in shares)]).tolist()
        slices = [
            job._slice(count, offset) for (job, count), offset in zip(shares, starts, strict=False)
        ]
        nodes, answers = self.session.extend(
            np.concatenate([part.tokens for part in slices]),
            np.concatenate([part.parents for part in slices]),
            [want for part in slices for _, _, want in part.wants],
        )
        for part in slices:
            part_nodes, nodes = nodes[: len(part.tokens)], nodes[len(part.tokens) :]
            part_answers, answers = answers[: len(part.wants)], answers[len(part.wants) :]
            part.job._receive(part, part_nodes, part_answers)

    def _end(self, job: Job[Any]) -> None:
        """Close the algorithm and release its nodes."""
        job.done = True
        self._free += job.nodes
        try:
            job._algorithm.close()
        finally:
            if job._roots:
                self.session.release(np.array(sorted(job._roots), np.int32))
                job._roots.clear()


def run(session: Session, algorithm: Algorithm[Result], *, max_tokens: int | None = None) -> Result:
    """Run one algorithm to its end and return its result; its nodes are released in any case."""
    with Scheduler(session, max_tokens=max_tokens) as scheduler:
        job = scheduler.add(algorithm, nodes=session.capacity - session.live)
        while not job.done:
            scheduler.step()
    return job.result()

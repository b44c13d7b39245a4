"""What every engine offers: sessions that grow a forest of tokens and answer what is wanted of it.

Knows token ids, node ids and wants; does not know text, sampling or where weights come from.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, TypeGuard, overload

import numpy as np
from jaxtyping import Float32, Int32

from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import Forest
from cpm_lm.engines.wants import Answer, Logits, Want, answer_on_host
from cpm_lm.errors import RequestError

__all__ = ["Engine", "HostSession", "Session"]

Ids = Sequence[int] | Int32[np.ndarray, " T"]
Indices = Sequence[int] | Int32[np.ndarray, " R"]
Nodes = Int32[np.ndarray, " T"]


class Engine(abc.ABC):
    """A model whose weights are loaded, ready to open sessions."""

    name: str
    """native, tensorflow, jax or reference."""
    config: GPTConfig

    @abc.abstractmethod
    def session(self, capacity: int = 1024) -> Session:
        """Open an empty session.

        Args:
            capacity: the most nodes (tokens with their keys and values) that may live at once.
        """


class Session(abc.ABC):
    """A growing forest of tokens, each with its key and value vectors in every layer.

    One session is used by one thread at a time.
    """

    slice_tokens = 256
    """Longer calls are computed in slices of this many tokens, to bound working memory."""

    def __init__(self, config: GPTConfig, capacity: int) -> None:
        self.config = config
        self._forest = Forest(capacity, config.n_positions)

    @property
    def capacity(self) -> int:
        """The most nodes that may live at once."""
        return self._forest.capacity

    @property
    def live(self) -> int:
        """The number of live nodes."""
        return self._forest.live

    @overload
    def extend(
        self, tokens: Ids, parents: Ids, wants: Sequence[Want]
    ) -> tuple[Nodes, list[Answer]]: ...
    @overload
    def extend(
        self,
        tokens: Ids,
        parents: Ids,
        wants: Indices | None = None,
        *,
        logits_at: Indices | None = None,
    ) -> tuple[Nodes, Float32[np.ndarray, "R V"]]: ...
    def extend(
        self,
        tokens: Ids,
        parents: Ids,
        wants: Sequence[Want] | Indices | None = None,
        *,
        logits_at: Indices | None = None,
    ) -> tuple[Nodes, Any]:
        """Add tokens to the forest, and answer what is wanted of their next-token distributions.

        A token attends to its ancestors and itself, never to its siblings; its position is its
        depth. Equal tokens below one parent become two nodes: nothing is merged here.

        Args:
            tokens: ids, int32[T], T >= 1.
            parents: for token i a live node, -1 for a root, or -2-k for token k < i of this call.
            wants: a list of `Logits`, `Draws` and `LogProbs`; it may be empty.
            logits_at: in place of `wants` (as which it may be given, too), indices into this call
                whose logits alone are wanted; by default the last token's.

        Returns:
            nodes: the new nodes' ids, int32[T].
            answers: for each want its answer, in kind; or, with `logits_at`, float32[R, V], the
                raw scores of the next token after each of them.

        Raises:
            RequestError: an id, a parent or an index is out of range, or a parent is not live.
            CapacityError: the session or the context is full.
            EngineError: logits that are drawn from or scored are not finite numbers. The session
                is unchanged after every error.
        """
        ids = self._ids(tokens, "tokens", self.config.vocab_size)
        if not ids.size:
            raise RequestError("extend was called with no tokens; at least one was expected")
        above = self._ids(parents, "parents", None)
        if above.shape != ids.shape:
            raise RequestError(f"{len(ids)} tokens came with {len(above)} parents")
        if _are_wants(wants) and logits_at is None:
            return self._extended(ids, above, [self._checked(want, len(ids)) for want in wants])
        if wants is not None and logits_at is not None:
            raise RequestError("extend was called with both wants and logits_at; give one of them")
        at = [len(ids) - 1] if wants is logits_at is None else logits_at if wants is None else wants
        want = Logits(self._ids(at, "logits_at", len(ids)))  # type: ignore[arg-type]
        nodes, answers = self._extended(ids, above, [want])
        return nodes, answers[0]

    def release(self, nodes: Indices) -> None:
        """Free nodes together with all their live descendants; their ids may be used again.

        Raises:
            RequestError: a node is not live or is named twice; nothing is freed then.
        """
        self._forest.release(self._ids(nodes, "nodes", None))

    @abc.abstractmethod
    def _answers(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        wants: Sequence[Want],
    ) -> list[Answer]:
        """Compute at most `slice_tokens` new nodes, whose places in the forest are settled.

        Every want has at least one row; there may be no want at all.
        """

    def _extended(
        self, tokens: Nodes, parents: Nodes, wants: Sequence[Want]
    ) -> tuple[Nodes, list[Answer]]:
        nodes = self._forest.grow(parents)
        try:
            return nodes, self._sliced(tokens, nodes, wants)
        except BaseException:
            self._forest.release(nodes)
            raise

    def _sliced(self, tokens: Nodes, nodes: Nodes, wants: Sequence[Want]) -> list[Answer]:
        """Compute in slices, and join each want's answers."""
        if len(tokens) <= self.slice_tokens and all(len(want.at) for want in wants):
            return self._answers(tokens, nodes, wants)
        parts: list[list[tuple[Any, Answer]]] = [[] for _ in wants]
        for start in range(0, len(tokens), self.slice_tokens):
            stop = start + self.slice_tokens
            here = [np.flatnonzero((start <= w.at) & (w.at < stop)) for w in wants]
            asked = [i for i, rows in enumerate(here) if len(rows)]
            own = [wants[i].part(here[i], start) for i in asked]
            answers = self._answers(tokens[start:stop], nodes[start:stop], own)
            for i, answer in zip(asked, answers, strict=True):
                parts[i].append((here[i], answer))
        V = self.config.vocab_size
        return [want.joined(found, V) for want, found in zip(wants, parts, strict=True)]

    def _checked(self, want: Want, count: int) -> Want:
        """Refuse a want that asks beyond the call or the vocabulary."""
        self._ids(want.at, "at", count)
        for ids in getattr(want, "ids", ()):
            self._ids(ids, "ids", self.config.vocab_size)
        return want

    @staticmethod
    def _ids(values: Indices, name: str, limit: int | None) -> Int32[np.ndarray, " R"]:
        """Return `values` as int32, each checked to lie in 0 to limit-1 if there is a limit."""
        array = np.asarray(values)
        if array.ndim != 1:
            raise RequestError(f"{name} has shape {array.shape}; one dimension was expected")
        if array.size and array.dtype.kind not in "iu":
            raise RequestError(f"{name} holds {array.dtype}; whole numbers were expected")
        low, high = (0, limit) if limit is not None else (-(2**31), 2**31)
        if array.size and (array.min() < low or array.max() >= high):
            bad = int(np.flatnonzero((array < low) | (array >= high))[0])
            raise RequestError(f"{name}[{bad}] is {array[bad]}; expected {low} to {high - 1}")
        return np.ascontiguousarray(array, np.int32)


class HostSession(Session):
    """A session whose logits come to the host, where all wants are answered by one code."""

    def _answers(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        wants: Sequence[Want],
    ) -> list[Answer]:
        hidden = self._forward(tokens, nodes)
        if not wants:
            return []
        return answer_on_host(
            wants, self.config.vocab_size, lambda rows: self._logits(hidden, rows)
        )

    @abc.abstractmethod
    def _forward(self, tokens: Int32[np.ndarray, " T"], nodes: Int32[np.ndarray, " T"]) -> Any:
        """Compute new nodes; return their last hidden states, in whatever form `_logits` takes."""

    @abc.abstractmethod
    def _logits(self, hidden: Any, rows: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits of some rows of hidden states, ascending."""


def _are_wants(wants: Any) -> TypeGuard[Sequence[Want]]:
    """Say whether this is a list of wants, which may be empty; arrays hold indices."""
    return isinstance(wants, list | tuple) and all(isinstance(want, Want) for want in wants)

"""What every engine offers: sessions that grow a forest of tokens and return logits.

Knows token ids, node ids and logits; does not know text, sampling or where weights come from.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Int32

from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import Forest
from cpm_lm.errors import RequestError

__all__ = ["Engine", "Session"]


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

    def extend(
        self,
        tokens: Sequence[int] | Int32[np.ndarray, " T"],
        parents: Sequence[int] | Int32[np.ndarray, " T"],
        logits_at: Sequence[int] | Int32[np.ndarray, " R"] | None = None,
    ) -> tuple[Int32[np.ndarray, " T"], Float32[np.ndarray, "R V"]]:
        """Add tokens to the forest and return next-token logits.

        A token attends to its ancestors and itself, never to its siblings; its position is its
        depth. Equal tokens below one parent become two nodes: nothing is merged here.

        Args:
            tokens: ids, int32[T], T >= 1.
            parents: for token i a live node, -1 for a root, or -2-k for token k < i of this call.
            logits_at: indices into this call whose logits are wanted; default: the last token.

        Returns:
            nodes: the new nodes' ids, int32[T].
            logits: float32[R, V], the raw scores of the next token after each of `logits_at`.

        Raises:
            RequestError: an id, a parent or an index is out of range, or a parent is not live.
            CapacityError: the session or the context is full. The session is unchanged after
                every error.
        """
        ids = self._ids(tokens, "tokens", self.config.vocab_size)
        if not ids.size:
            raise RequestError("extend was called with no tokens; at least one was expected")
        above = self._ids(parents, "parents", None)
        if above.shape != ids.shape:
            raise RequestError(f"{len(ids)} tokens came with {len(above)} parents")
        last = [len(ids) - 1]
        at = self._ids(last if logits_at is None else logits_at, "logits_at", len(ids))
        nodes = self._forest.grow(above)
        try:
            return nodes, self._sliced(ids, nodes, at)
        except BaseException:
            self._forest.release(nodes)
            raise

    def release(self, nodes: Sequence[int] | Int32[np.ndarray, " K"]) -> None:
        """Free nodes together with all their live descendants; their ids may be used again.

        Raises:
            RequestError: a node is not live or is named twice; nothing is freed then.
        """
        self._forest.release(self._ids(nodes, "nodes", None))

    @abc.abstractmethod
    def _forward(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        logits_at: Int32[np.ndarray, " R"],
    ) -> Float32[np.ndarray, "R V"]:
        """Compute at most `slice_tokens` new nodes, whose places in the forest are settled."""

    def _sliced(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        logits_at: Int32[np.ndarray, " R"],
    ) -> Float32[np.ndarray, "R V"]:
        if len(tokens) <= self.slice_tokens:
            return self._forward(tokens, nodes, logits_at)
        logits = np.empty((len(logits_at), self.config.vocab_size), np.float32)
        for start in range(0, len(tokens), self.slice_tokens):
            stop = start + self.slice_tokens
            rows = np.flatnonzero((start <= logits_at) & (logits_at < stop))
            wanted = (logits_at[rows] - start).astype(np.int32)
            logits[rows] = self._forward(tokens[start:stop], nodes[start:stop], wanted)
        return logits

    @staticmethod
    def _ids(
        values: Sequence[int] | Int32[np.ndarray, " T"], name: str, limit: int | None
    ) -> Int32[np.ndarray, " T"]:
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

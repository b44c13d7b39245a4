"""The interface of all engines: a session holds a forest of tokens and answers wants about it.

Knows token ids, node ids and wants; does not know text, sampling or files of weights.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, TypeGuard, overload

import numpy as np

from cpm_lm.checkpoints.containers.mapped_file import MappedFile
from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import Forest
from cpm_lm.engines.wants import Answer, Logits, Want, answer_on_host
from cpm_lm.errors import RequestError
from cpm_lm.shapes import Float32, Int32

__all__ = ["Engine", "HostSession", "Session"]

Ids = Sequence[int] | Int32[np.ndarray, " T"]
Indices = Sequence[int] | Int32[np.ndarray, " R"]
Nodes = Int32[np.ndarray, " T"]


class Engine(abc.ABC):
    """A model with its weights loaded; it opens sessions."""

    name: str
    """native, tensorflow, jax or reference."""
    config: GPTConfig
    files: tuple[MappedFile, ...] = ()
    """The mapped files that its weights lie in; sessions check that they are not changed."""

    def __repr__(self) -> str:
        """Return the name and the model's size on one line."""
        c = self.config
        return f"<{self.name} engine, {c.n_layer} layers of {c.n_embd}, {c.vocab_size:,} tokens>"

    @abc.abstractmethod
    def session(self, capacity: int = 1024) -> Session:
        """Open an empty session.

        Args:
            capacity: the maximum number of live nodes: tokens with an entry in the KV cache.
        """


class Session(abc.ABC):
    """A forest of tokens and its KV cache: a key and a value vector per token and layer.

    Not thread-safe: one thread uses a session at a time.
    """

    slice_tokens = 256
    """A longer call is computed in slices of this many tokens, which bounds the workspace."""

    def __init__(
        self, config: GPTConfig, capacity: int, files: tuple[MappedFile, ...] = ()
    ) -> None:
        self.config = config
        self._files = files
        self._forest = Forest(capacity, config.n_positions)

    @property
    def capacity(self) -> int:
        """The maximum number of live nodes."""
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
        """Add tokens to the forest and answer wants about their next-token distributions.

        A token attends to its ancestors and to itself. Its position is its depth. Equal tokens
        below one parent become separate nodes: a session merges nothing.

        Example: tokens [5, 6, 7] with parents [-1, -2, -2] are a root and its two children, since
        -2 is token 0 of the call. Suppose their nodes are [0, 1, 2]. Then tokens [8, 9] with
        parents [2, -2] add 8 below node 2, and 9 below 8.

        Args:
            tokens: ids, int32[T], T >= 1.
            parents: for token i a live node, -1 for a root, or -2-k for token k < i of this call.
            wants: a list of `Logits`, `Draws` and `LogProbs`; it may be empty.
            logits_at: short for one `Logits` want: indices of tokens of this call, by default of
                the last one. The indices may also be passed as `wants`.

        Returns:
            nodes: the new nodes' ids, int32[T].
            answers: one answer per want; with `logits_at`, the logits float32[R, V] alone.

        Raises:
            RequestError: an id, a parent or an index is out of range, or a parent is not live.
            CapacityError: the session or the context is full.
            CheckpointError: the model's file was truncated or written to since it was loaded.
            EngineError: a row to draw from or to score has logits that are not finite. The session
                is unchanged after every error.
        """
        ids = self._ids(tokens, "tokens", self.config.vocab_size)
        if not ids.size:
            raise RequestError("extend was called with no tokens; at least one was expected")
        parent_ids = self._ids(parents, "parents", None)
        if parent_ids.shape != ids.shape:
            raise RequestError(
                "{n_ids} tokens came with {n_parent_ids} parents",
                n_ids=len(ids),
                n_parent_ids=len(parent_ids),
            )
        if _are_wants(wants) and logits_at is None:
            checked = [self._check_want(want, len(ids)) for want in wants]
            return self._add_nodes(ids, parent_ids, checked)
        if wants is not None and logits_at is not None:
            raise RequestError("extend was called with both wants and logits_at; give one of them")
        at = [len(ids) - 1] if wants is logits_at is None else logits_at if wants is None else wants
        want = Logits(self._ids(at, "logits_at", len(ids)))  # type: ignore[arg-type]
        nodes, answers = self._add_nodes(ids, parent_ids, [want])
        return nodes, answers[0]

    def release(self, nodes: Indices) -> None:
        """Release nodes with all their descendants; later nodes may reuse their ids.

        Raises:
            RequestError: a node is not live or is named twice; nothing is released then.
        """
        self._forest.release(self._ids(nodes, "nodes", None))

    @abc.abstractmethod
    def _answers(
        self,
        tokens: Int32[np.ndarray, " T"],
        nodes: Int32[np.ndarray, " T"],
        wants: Sequence[Want],
    ) -> list[Answer]:
        """Compute at most `slice_tokens` new nodes, which the forest has already added.

        Every want has at least one row; the list of wants may be empty.
        """

    def _add_nodes(
        self, tokens: Nodes, parents: Nodes, wants: Sequence[Want]
    ) -> tuple[Nodes, list[Answer]]:
        self._check_files()
        nodes = self._forest.grow(parents)
        try:
            answers = self._compute(tokens, nodes, wants)
            self._check_files()  # again: else the last answers of a session could be wrong
            return nodes, answers
        except BaseException:
            self._forest.release(nodes)
            raise

    def _compute(self, tokens: Nodes, nodes: Nodes, wants: Sequence[Want]) -> list[Answer]:
        """Compute nodes in slices and join the answers of each want."""
        if len(tokens) <= self.slice_tokens and all(len(want.at) for want in wants):
            return self._answers(tokens, nodes, wants)
        parts: list[list[tuple[Any, Answer]]] = [[] for _ in wants]
        for start in range(0, len(tokens), self.slice_tokens):
            stop = start + self.slice_tokens
            rows_of = [np.flatnonzero((start <= w.at) & (w.at < stop)) for w in wants]
            present = [i for i, rows in enumerate(rows_of) if len(rows)]
            slice_wants = [wants[i].part(rows_of[i], start) for i in present]
            answers = self._answers(tokens[start:stop], nodes[start:stop], slice_wants)
            for i, answer in zip(present, answers, strict=True):
                parts[i].append((rows_of[i], answer))
        V = self.config.vocab_size
        return [want.join_or_empty(found, V) for want, found in zip(wants, parts, strict=True)]

    def _check_files(self) -> None:
        for file in self._files:
            file.check()

    def _check_want(self, want: Want, count: int) -> Want:
        """Return a want whose indices and ids are in range."""
        self._ids(want.at, "at", count)
        for ids in getattr(want, "ids", ()):
            self._ids(ids, "ids", self.config.vocab_size)
        for edits in getattr(want, "edits", ()):
            self._ids(edits.rows, "rows", len(want.at))
            self._ids(edits.ids, "ids", self.config.vocab_size)
        return want

    @staticmethod
    def _ids(values: Indices, name: str, limit: int | None) -> Int32[np.ndarray, " R"]:
        """Return `values` as int32, checked to be 0 to limit-1 if there is a limit."""
        array = np.asarray(values)
        if array.ndim != 1:
            raise RequestError(
                "{name} has shape {array_shape}; one dimension was expected",
                name=name,
                array_shape=array.shape,
            )
        if array.size and array.dtype.kind not in "iu":
            raise RequestError(
                "{name} holds {array_dtype}; integers were expected",
                name=name,
                array_dtype=array.dtype,
            )
        low, high = (0, limit) if limit is not None else (-(2**31), 2**31)
        if array.size and (array.min() < low or array.max() >= high):
            bad = int(np.flatnonzero((array < low) | (array >= high))[0])
            raise RequestError(
                "{name}[{bad}] is {array}; expected {low} to {high}",
                name=name,
                bad=bad,
                array=array[bad],
                low=low,
                high=high - 1,
            )
        return np.ascontiguousarray(array, np.int32)


class HostSession(Session):
    """A session that copies logits to the host, where `answer_on_host` answers all wants."""

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
        """Compute new nodes; return their last hidden states, in the form that `_logits` takes."""

    @abc.abstractmethod
    def _logits(self, hidden: Any, rows: Int32[np.ndarray, " R"]) -> Float32[np.ndarray, "R V"]:
        """Return the logits of rows of the hidden states; `rows` is ascending."""


def _are_wants(wants: Any) -> TypeGuard[Sequence[Want]]:
    """Return whether this is a list of wants, which may be empty; an array holds indices."""
    return isinstance(wants, list | tuple) and all(isinstance(want, Want) for want in wants)

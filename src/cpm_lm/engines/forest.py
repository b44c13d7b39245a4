"""The forest of tokens behind a session: which slots are live, and their parents and depths.

Knows slots, parents, depths and ancestry; does not know weights, logits or text.
"""

from __future__ import annotations

import heapq

import numpy as np

from cpm_lm.errors import CapacityError, RequestError
from cpm_lm.shapes import Bool, Int32

__all__ = ["Forest", "chain"]

ROOT = -1


def chain(count: int, below: int = ROOT) -> Int32[np.ndarray, " count"]:
    """Return the `parents` argument of `Session.extend` for a chain of tokens.

    >>> chain(4).tolist()  # a root, then children of tokens 0, 1 and 2 of the same call
    [-1, -2, -3, -4]
    >>> chain(3, below=7).tolist()
    [7, -2, -3]

    Args:
        count: the number of tokens, at least 1.
        below: the parent of the first token; by default the first token is a root.
    """
    parents = -1 - np.arange(count, dtype=np.int32)
    parents[:1] = below
    return parents


class Forest:
    """Live nodes in numbered slots; a node is one token at one position.

    The lowest free slot is allocated first, so that `used` stays near the number of live nodes.
    A node stores only its parent, so memory is linear in the number of nodes. Paths to the root
    are found by pointer jumping: the table of parents becomes that of grandparents, and so on.
    Source: J. C. Wyllie, "The Complexity of Parallel Computations", 1979.

    Args:
        capacity: the maximum number of live nodes.
        n_positions: the model's context; a node's depth is below it.
    """

    def __init__(self, capacity: int, n_positions: int) -> None:
        if capacity < 1:
            raise RequestError("capacity is {capacity}; at least 1 was expected", capacity=capacity)
        self.capacity = capacity
        self.n_positions = n_positions
        self.used = 0
        """One more than the highest slot allocated since the forest was last empty."""
        self.live = 0
        """The number of live nodes."""
        self._free: list[int] = []
        self._alive = np.zeros(0, bool)
        self._parent = np.zeros(0, np.int32)
        self._children = np.zeros(0, np.int32)
        self._depth = np.zeros(0, np.int32)

    @property
    def parents(self) -> Int32[np.ndarray, " used"]:
        """The parent of the node in each slot, -1 for a root; undefined for a free slot."""
        return self._parent[: self.used]

    def depths(self, nodes: Int32[np.ndarray, " T"]) -> Int32[np.ndarray, " T"]:
        """Return the position of each node, 0 for a root."""
        return self._depth[nodes]

    def visible(self, nodes: Int32[np.ndarray, " T"], width: int) -> Bool[np.ndarray, "T S"]:
        """Return which of the first `width` slots each node attends to: its ancestors and itself.

        >>> forest = Forest(capacity=8, n_positions=4)
        >>> nodes = forest.grow(np.array([-1, -2, -2, -4], np.int32))
        >>> forest.visible(nodes, width=5).astype(int)  # 3 is the child of 2, a child of 0
        array([[1, 0, 0, 0, 0],
               [1, 1, 0, 0, 0],
               [1, 0, 1, 0, 0],
               [1, 0, 1, 1, 0]])

        Args:
            nodes: live nodes.
            width: the number of columns S, at least `used`.
        """
        # Pointer jumping: with `ancestor` 2^j levels up, `path` doubles to 2^(j+1) levels.
        path, ancestor = nodes[:, None], self._parents_or_none()
        while path.shape[1] <= self._depth[nodes].max(initial=0):
            path, ancestor = np.concatenate([path, ancestor[path]], axis=1), ancestor[ancestor]
        visible = np.zeros((len(nodes), width + 1), bool)  # -1 marks the last column, cut off below
        visible[np.arange(len(nodes))[:, None], path] = True
        return visible[:, :width]

    def grow(self, parents: Int32[np.ndarray, " T"]) -> Int32[np.ndarray, " T"]:
        """Add one node below each parent; if one cannot be added, none is.

        >>> forest = Forest(capacity=8, n_positions=4)
        >>> forest.grow(np.array([-1, -2, -2], np.int32)).tolist()  # -2: node 0 of this call
        [0, 1, 2]
        >>> forest.parents.tolist()
        [-1, 0, 0]

        Args:
            parents: a live node, -1 for a root, or -2-k for node k of this call.

        Returns:
            The new nodes' slots, int32[T].

        Raises:
            RequestError: a parent is not live, or names a node of this call that comes later.
            CapacityError: no slots are left, or a node would lie past the model's context.
        """
        parent_slots = parents.tolist()
        depths = self._checked_depths(parent_slots)
        if (room := self.capacity - self.live) < len(parents):
            raise CapacityError(
                "{n_parents} new tokens do not fit: {live} of the session's {capacity} "
                "nodes are live and {room} are left; release some, or open the session "
                "with a larger capacity",
                n_parents=len(parents),
                live=self.live,
                capacity=self.capacity,
                room=room,
            )
        slots = self._allocate(len(parents))
        for i, parent in enumerate(parent_slots):
            if parent < ROOT:
                parent_slots[i] = parent = slots[-2 - parent]
            if parent >= 0:
                self._children[parent] += 1
        nodes = np.array(slots, np.int32)
        self._alive[nodes] = True
        self._depth[nodes] = depths
        self._parent[nodes] = parent_slots
        self.live += len(nodes)
        return nodes

    def release(self, nodes: Int32[np.ndarray, " K"]) -> None:
        """Release nodes with all their descendants.

        Raises:
            RequestError: a node is not live, or is named twice; nothing is released then.
        """
        if len(set(nodes.tolist())) != len(nodes):  # np.unique would import numpy.ma
            raise RequestError("a node is released twice in one call")
        self._check_live(nodes)
        leaf = self._children[nodes] == 0
        released = nodes if leaf.all() else self._subtrees(nodes)
        parents = self._parent[released]
        np.subtract.at(self._children, parents[parents >= 0], 1)
        self._alive[released] = False
        self.live -= len(released)
        if not self.live:  # reset, so that later calls do not scan freed slots
            self.used, self._free = 0, []
            return
        for slot in released.tolist():
            heapq.heappush(self._free, slot)

    def _checked_depths(self, parents: list[int]) -> list[int]:
        """Return the depth of a new node below each parent.

        A Python loop, because most calls have one row or a few.
        """
        depths: list[int] = []
        for i, parent in enumerate(parents):
            if parent >= 0:
                if parent >= self.used or not self._alive[parent]:
                    raise RequestError(
                        "node {parent} is extended, but it is not live", parent=parent
                    )
                depths.append(int(self._depth[parent]) + 1)
            elif parent == ROOT:
                depths.append(0)
            elif (inner := -2 - parent) < i:
                depths.append(depths[inner] + 1)
            else:
                raise RequestError(
                    "parents[{i}] is {parent}, token {inner} of this call; only tokens "
                    "before token {i} can be its parent",
                    i=i,
                    parent=parent,
                    inner=inner,
                )
        if (deepest := max(depths, default=0)) >= self.n_positions:
            raise CapacityError(
                "a token at position {deepest} was asked for; the model's context has "
                "{n_positions} positions, 0 to {last}",
                deepest=deepest,
                n_positions=self.n_positions,
                last=self.n_positions - 1,
            )
        return depths

    def _check_live(self, nodes: Int32[np.ndarray, " K"]) -> None:
        bad = (nodes < 0) | (nodes >= self.used)
        bad[~bad] = ~self._alive[nodes[~bad]]
        if bad.any():
            raise RequestError("node {nodes} is released, but it is not live", nodes=nodes[bad][0])

    def _allocate(self, count: int) -> list[int]:
        reused = [heapq.heappop(self._free) for _ in range(min(count, len(self._free)))]
        new = range(self.used, self.used + count - len(reused))
        self.used += len(new)
        if self.used > len(self._alive):
            self._reserve(self.used)
        slots = [*reused, *new]
        self._children[slots] = 0
        return slots

    def _reserve(self, slots: int) -> None:
        """Double the size of the tables until they hold `slots`."""
        size = max(64, len(self._alive))
        while size < slots:
            size *= 2
        more = size - len(self._alive)
        self._alive = np.pad(self._alive, (0, more))
        self._parent = np.pad(self._parent, (0, more))
        self._children = np.pad(self._children, (0, more))
        self._depth = np.pad(self._depth, (0, more))

    def _parents_or_none(self) -> Int32[np.ndarray, " J"]:
        """Return the parents and a last -1: index -1 (no node) then has the parent -1."""
        return np.append(self.parents, np.int32(ROOT))

    def _subtrees(self, nodes: Int32[np.ndarray, " K"]) -> Int32[np.ndarray, " M"]:
        """Return the nodes with all their live descendants."""
        ancestor, levels = self._parents_or_none(), 1
        inside = np.zeros(len(ancestor), bool)
        inside[nodes] = True
        while levels < min(self.n_positions, len(ancestor)):
            inside |= inside[ancestor]
            ancestor, levels = ancestor[ancestor], 2 * levels
        return np.flatnonzero(inside[:-1] & self._alive[: self.used]).astype(np.int32)

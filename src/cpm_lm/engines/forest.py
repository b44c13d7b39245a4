"""The growing forest of tokens behind a session: which slots live, who descends from whom.

Knows slots, parents, depths and ancestry; does not know weights, logits or text.
"""

from __future__ import annotations

import heapq

import numpy as np
from jaxtyping import Bool, Int32

from cpm_lm.errors import CapacityError, RequestError

__all__ = ["Forest", "chain"]

ROOT = -1


def chain(count: int, below: int = ROOT) -> Int32[np.ndarray, " count"]:
    """Return the parents, for `Session.extend`, of tokens that each follow the one before.

    >>> chain(4).tolist()  # a root, then below tokens 0, 1 and 2 of the same call
    [-1, -2, -3, -4]
    >>> chain(3, below=7).tolist()
    [7, -2, -3]

    Args:
        count: the number of tokens, at least 1.
        below: the node that the first of them follows; by default it is a root.
    """
    parents = -1 - np.arange(count, dtype=np.int32)
    parents[:1] = below
    return parents


class Forest:
    """Live nodes in numbered slots; a node is one token at one position.

    The lowest free slot is taken first, so that `used` stays near the number of live nodes.
    Of a node only its parent is kept: paths to the root are found by doubling the length of the
    jumps, so that memory grows with the nodes and not with their square.

    Args:
        capacity: the most nodes that may live at once.
        n_positions: the model's context; a node's depth stays below it.
    """

    def __init__(self, capacity: int, n_positions: int) -> None:
        if capacity < 1:
            raise RequestError(f"capacity is {capacity}; at least 1 was expected")
        self.capacity = capacity
        self.n_positions = n_positions
        self.used = 0
        """One more than the highest slot taken since the forest was last empty."""
        self.live = 0
        """The number of live nodes."""
        self._free: list[int] = []
        self._alive = np.zeros(0, bool)
        self._parent = np.zeros(0, np.int32)
        self._children = np.zeros(0, np.int32)
        self._depth = np.zeros(0, np.int32)

    @property
    def parents(self) -> Int32[np.ndarray, " used"]:
        """The parent of the node in each slot, -1 for a root; of free slots, anything."""
        return self._parent[: self.used]

    def depths(self, nodes: Int32[np.ndarray, " T"]) -> Int32[np.ndarray, " T"]:
        """Return the position of each node, 0 for a root."""
        return self._depth[nodes]

    def visible(self, nodes: Int32[np.ndarray, " T"], width: int) -> Bool[np.ndarray, "T S"]:
        """Say which of the first `width` slots each node attends to: ancestors and itself.

        `width` is at least `used`.
        """
        path, jump = nodes[:, None], self._jumps()
        while path.shape[1] <= self._depth[nodes].max(initial=0):
            path, jump = np.concatenate([path, jump[path]], axis=1), jump[jump]
        seen = np.zeros((len(nodes), width + 1), bool)  # the last column is what no root has
        seen[np.arange(len(nodes))[:, None], path] = True
        return seen[:, :width]

    def grow(self, parents: Int32[np.ndarray, " T"]) -> Int32[np.ndarray, " T"]:
        """Add one node below each parent, or none at all if one of them cannot be added.

        Args:
            parents: a live node, -1 for a root, or -2-k for the k-th node of this same call.

        Returns:
            The new nodes' slots, int32[T].

        Raises:
            RequestError: a parent is not live, or names a node of this call that comes later.
            CapacityError: no slots are left, or a node would lie past the model's context.
        """
        above = parents.tolist()
        depths = self._checked_depths(above)
        if (room := self.capacity - self.live) < len(parents):
            raise CapacityError(
                f"{len(parents)} new tokens do not fit: {self.live} of the session's "
                f"{self.capacity} nodes are live and {room} are left; "
                "release some, or open the session with a larger capacity"
            )
        slots = self._take(len(parents))
        for i, parent in enumerate(above):
            if parent < ROOT:
                above[i] = parent = slots[-2 - parent]
            if parent >= 0:
                self._children[parent] += 1
        nodes = np.array(slots, np.int32)
        self._alive[nodes] = True
        self._depth[nodes] = depths
        self._parent[nodes] = above
        self.live += len(nodes)
        return nodes

    def release(self, nodes: Int32[np.ndarray, " K"]) -> None:
        """Free nodes together with all their live descendants.

        Raises:
            RequestError: a node is not live, or is named twice; nothing is freed then.
        """
        if len(np.unique(nodes)) != len(nodes):
            raise RequestError("a node is released twice in one call")
        self._check_live(nodes)
        leaf = self._children[nodes] == 0
        doomed = nodes if leaf.all() else self._descendants(nodes)
        parents = self._parent[doomed]
        np.subtract.at(self._children, parents[parents >= 0], 1)
        self._alive[doomed] = False
        self.live -= len(doomed)
        if not self.live:  # whoever comes next is not slowed down by what once was
            self.used, self._free = 0, []
            return
        for slot in doomed.tolist():
            heapq.heappush(self._free, slot)

    def _checked_depths(self, parents: list[int]) -> list[int]:
        """Return the depth below each parent. A loop: most calls have one row, or few."""
        depths: list[int] = []
        for i, parent in enumerate(parents):
            if parent >= 0:
                if parent >= self.used or not self._alive[parent]:
                    raise RequestError(f"node {parent} is extended, but it is not live")
                depths.append(int(self._depth[parent]) + 1)
            elif parent == ROOT:
                depths.append(0)
            elif (inner := -2 - parent) < i:
                depths.append(depths[inner] + 1)
            else:
                raise RequestError(
                    f"parents[{i}] is {parent}, token {inner} of this call; "
                    f"only tokens before token {i} can be its parent"
                )
        if (deepest := max(depths, default=0)) >= self.n_positions:
            raise CapacityError(
                f"a token at position {deepest} was asked for; "
                f"the model's context has {self.n_positions} positions, 0 to {self.n_positions - 1}"
            )
        return depths

    def _check_live(self, nodes: Int32[np.ndarray, " K"]) -> None:
        bad = (nodes < 0) | (nodes >= self.used)
        bad[~bad] = ~self._alive[nodes[~bad]]
        if bad.any():
            raise RequestError(f"node {nodes[bad][0]} is released, but it is not live")

    def _take(self, count: int) -> list[int]:
        recycled = [heapq.heappop(self._free) for _ in range(min(count, len(self._free)))]
        fresh = range(self.used, self.used + count - len(recycled))
        self.used += len(fresh)
        if self.used > len(self._alive):
            self._reserve(self.used)
        slots = [*recycled, *fresh]
        self._children[slots] = 0
        return slots

    def _reserve(self, slots: int) -> None:
        """Double the tables until they hold `slots`."""
        size = max(64, len(self._alive))
        while size < slots:
            size *= 2
        more = size - len(self._alive)
        self._alive = np.pad(self._alive, (0, more))
        self._parent = np.pad(self._parent, (0, more))
        self._children = np.pad(self._children, (0, more))
        self._depth = np.pad(self._depth, (0, more))

    def _jumps(self) -> Int32[np.ndarray, " J"]:
        """Return the parents, and -1 behind them, so that the parent of none (-1) is none."""
        return np.append(self.parents, np.int32(ROOT))

    def _descendants(self, nodes: Int32[np.ndarray, " K"]) -> Int32[np.ndarray, " M"]:
        jump, length = self._jumps(), 1
        doomed = np.zeros(len(jump), bool)
        doomed[nodes] = True
        while length < min(self.n_positions, len(jump)):
            doomed |= doomed[jump]
            jump, length = jump[jump], 2 * length
        return np.flatnonzero(doomed[:-1] & self._alive[: self.used]).astype(np.int32)

"""The tree of tokens that the samples of one prompt grow together.

Knows tokens, which node of the session each became, and who still needs it; does not know
logits, distributions or text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

__all__ = ["Growth", "Node", "Tree"]


class Node:
    """One token below its parent; computed once it has a slot in the session."""

    __slots__ = ("children", "depth", "parent", "references", "slot", "token", "waiting")

    def __init__(self, token: int, parent: Node | None) -> None:
        self.token = token
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        """The number of tokens from the root down to this one; 0 for the root above them all."""
        self.slot = -1
        """The session's node id; -1 until computed, and for the root."""
        self.children: dict[int, Node] = {}
        self.references = 0
        """How many children and waiting groups of samples refer to this node."""
        self.waiting: list[int] = []
        """Samples whose next token is drawn from the distribution after this token."""

    def path(self) -> list[int]:
        """Return the tokens from the root down to this one."""
        tokens = []
        node = self
        while node.parent:
            tokens.append(node.token)
            node = node.parent
        return tokens[::-1]

    def uncomputed(self) -> list[Node]:
        """Return this node and those above it that have no slot yet, the topmost first."""
        chain = []
        node = self
        while node.parent and node.slot < 0:
            chain.append(node)
            node = node.parent
        return chain[::-1]


@dataclass(frozen=True, eq=False)
class Growth:
    """Nodes to be computed, in the terms of `Session.extend`."""

    nodes: list[Node]
    """In the order of `tokens`."""
    tokens: Int32[np.ndarray, " T"]
    parents: Int32[np.ndarray, " T"]
    at: Int32[np.ndarray, " R"]
    """Which of the tokens are the leaves, in the order in which these were given."""
    release: Int32[np.ndarray, " K"]
    """Slots of nodes that were dropped since the last time."""


class Tree:
    """Nodes that exist once for all samples that pass through them, until none refers to them."""

    def __init__(self) -> None:
        self.root = Node(-1, None)
        self.root.references = 1  # never dropped
        self.live = 0
        """Nodes that lie in the session."""
        self.rows = 0
        """Nodes computed since the beginning."""
        self._dropped: list[int] = []

    def wait(self, parent: Node, tokens: Iterable[int], samples: Sequence[int]) -> Node:
        """Let samples wait for the distribution after `tokens` below `parent`; return the last
        node.

        Nodes that are there already are shared, except that a last node that was computed is made
        anew: its logits were not kept.
        """
        *inner, last = tokens
        for token in inner:
            parent = parent.children.get(token) or self._add(token, parent)
        node = parent.children.get(last)
        if node is None or node.slot >= 0:
            node = self._add(last, parent)
        node.references += not node.waiting
        node.waiting += samples
        return node

    def leave(self, node: Node) -> list[int]:
        """Take the waiting samples away from a node."""
        samples, node.waiting = node.waiting, []
        node.references -= 1
        return samples

    def prune(self, node: Node) -> None:
        """Drop an unreferenced node, then its unreferenced ancestors."""
        while not node.references and node.parent:
            parent = node.parent
            if node.slot >= 0:
                self._dropped.append(node.slot)
                self.live -= 1
            if parent.children.get(node.token) is node:
                del parent.children[node.token]
            parent.references -= 1
            node = parent

    def grow(self, leaves: Sequence[Node]) -> Growth:
        """Return what computes these nodes and what is missing above them.

        With a root of slot 4 above two new leaves, tokens 8 and 9, where 9 has a new parent 7:
        tokens [8, 7, 9], parents [4, 4, -3] (9 hangs below token 1 of the call), at [0, 2].
        """
        place: dict[Node, int] = {}
        for leaf in leaves:
            for node in leaf.uncomputed():
                place.setdefault(node, len(place))
        parents = []
        for node in place:
            assert node.parent is not None
            parents.append(-2 - place[node.parent] if node.parent in place else node.parent.slot)
        dropped, self._dropped = self._dropped, []
        return Growth(
            nodes=list(place),
            tokens=np.array([node.token for node in place], np.int32),
            parents=np.array(parents, np.int32),
            at=np.array([place[leaf] for leaf in leaves], np.int32),
            release=np.array(dropped, np.int32),
        )

    def place(self, nodes: Sequence[Node], slots: Sequence[int]) -> None:
        """Note where the session put nodes."""
        for node, slot in zip(nodes, slots, strict=True):
            node.slot = slot
        self.live += len(nodes)
        self.rows += len(nodes)

    def _add(self, token: int, parent: Node) -> Node:
        node = parent.children[token] = Node(token, parent)
        parent.references += 1
        return node

"""The tree of tokens that the samples of one prompt grow together.

Knows tokens, which node of the session each became, and who still needs it; does not know
logits, distributions or text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cpm_lm.decoding.protocol import Extend

__all__ = ["Node", "Tree"]


class Node:
    """One token below its parent; computed once it has a slot in the session."""

    __slots__ = ("children", "depth", "needed", "parent", "slot", "token", "waiting")

    def __init__(self, token: int, parent: Node | None) -> None:
        self.token = token
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        """The number of tokens from the root down to this one; 0 for the root above them all."""
        self.slot = -1
        """The session's node id; -1 until computed, and for the root."""
        self.children: dict[int, Node] = {}
        self.needed = 0
        """How many children and waiting groups of samples hold on to this node."""
        self.waiting: list[int] = []
        """Samples whose next token is drawn from the logits after this token."""

    def path(self) -> list[int]:
        """Return the tokens from the root down to this one."""
        tokens = []
        node = self
        while node.parent:
            tokens.append(node.token)
            node = node.parent
        return tokens[::-1]

    def uncomputed(self) -> list[Node]:
        """Return this node and those above it that have no slot yet, topmost first."""
        chain = []
        node = self
        while node.parent and node.slot < 0:
            chain.append(node)
            node = node.parent
        return chain[::-1]


class Tree:
    """Nodes that exist once for all samples that pass through them, and die with the last one."""

    def __init__(self) -> None:
        self.root = Node(-1, None)
        self.root.needed = 1  # never dies
        self.live = 0
        """Nodes that lie in the session."""
        self.rows = 0
        """Nodes computed since the beginning."""
        self._dead: list[int] = []

    def wait(self, parent: Node, tokens: Iterable[int], samples: Sequence[int]) -> Node:
        """Let samples wait for the logits after `tokens` below `parent`; return the last node.

        Nodes that are there already are shared, except that a last node whose logits have been
        used is made anew: they are not kept.
        """
        *inner, last = tokens
        for token in inner:
            parent = parent.children.get(token) or self._add(token, parent)
        node = parent.children.get(last)
        if node is None or node.slot >= 0:
            node = self._add(last, parent)
        node.needed += not node.waiting
        node.waiting += samples
        return node

    def leave(self, node: Node) -> list[int]:
        """Take the waiting samples away from a node."""
        samples, node.waiting = node.waiting, []
        node.needed -= 1
        return samples

    def prune(self, node: Node) -> None:
        """Let a node die if nobody needs it, and those above it that it alone needed."""
        while not node.needed and node.parent:
            parent = node.parent
            if node.slot >= 0:
                self._dead.append(node.slot)
                self.live -= 1
            if parent.children.get(node.token) is node:
                del parent.children[node.token]
            parent.needed -= 1
            node = parent

    def request(self, leaves: Sequence[Node]) -> tuple[Extend, list[Node]]:
        """Return the request that computes these nodes and what is missing above them.

        Returns:
            the request, with logits at the leaves, and its nodes in order.
        """
        place: dict[Node, int] = {}
        for leaf in leaves:
            for node in leaf.uncomputed():
                place.setdefault(node, len(place))
        parents = []
        for node in place:
            assert node.parent is not None
            parents.append(-2 - place[node.parent] if node.parent in place else node.parent.slot)
        dead, self._dead = self._dead, []
        request = Extend(
            tokens=np.array([node.token for node in place], np.int32),
            parents=np.array(parents, np.int32),
            logits_at=np.array([place[leaf] for leaf in leaves], np.int32),
            release=np.array(dead, np.int32),
        )
        return request, list(place)

    def place(self, nodes: Sequence[Node], slots: Sequence[int]) -> None:
        """Take note of where the session put nodes."""
        for node, slot in zip(nodes, slots, strict=True):
            node.slot = slot
        self.live += len(nodes)
        self.rows += len(nodes)

    def _add(self, token: int, parent: Node) -> Node:
        node = parent.children[token] = Node(token, parent)
        parent.needed += 1
        return node

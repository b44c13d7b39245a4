"""The tree of tokens that the samples of one prompt share.

Knows tokens, their nodes in the session and reference counts; does not know logits, distributions
or text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.shapes import Int32

__all__ = ["Growth", "Node", "Tree", "new_root"]


class Node:
    """A token and its parent; it is computed if it has a slot in the session."""

    __slots__ = ("children", "depth", "parent", "references", "samples", "slot", "token")

    def __init__(self, token: int, parent: Node | None) -> None:
        self.token = token
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        """The number of tokens from the root to this one; 0 for the root, which is no token."""
        self.slot = -1
        """The session's node id; -1 for the root and until the node is computed."""
        self.children: dict[int, Node] = {}
        self.references = 0
        """The number of children, plus 1 if samples are at this node."""
        self.samples: list[int] = []
        """The samples whose next token is drawn from the distribution after this token."""

    def path(self) -> list[int]:
        """Return the tokens from the root to this one."""
        tokens = []
        node = self
        while node.parent:
            tokens.append(node.token)
            node = node.parent
        return tokens[::-1]

    def uncomputed(self) -> list[Node]:
        """Return this node and its ancestors that are not computed yet, ancestors first."""
        chain = []
        node = self
        while node.parent and node.slot < 0:
            chain.append(node)
            node = node.parent
        return chain[::-1]


def new_root() -> Node:
    """Return a root, which is no token; it is never dropped."""
    root = Node(-1, None)
    root.references = 1
    return root


@dataclass(frozen=True, eq=False)
class Growth:
    """The nodes to compute, as arguments of `Session.extend`."""

    nodes: list[Node]
    """In the order of `tokens`."""
    tokens: Int32[np.ndarray, " T"]
    parents: Int32[np.ndarray, " T"]
    at: Int32[np.ndarray, " R"]
    """The indices of the leaves in `tokens`, in the order given."""
    release: Int32[np.ndarray, " K"]
    """The slots of the nodes dropped since the last call."""


class Tree:
    """A tree of reference-counted nodes; samples with a common prefix share its nodes."""

    def __init__(self) -> None:
        self.root = new_root()
        self.live = 0
        """The number of nodes with a slot in the session."""
        self.rows = 0
        """The number of nodes computed since the beginning."""
        self._dropped: list[int] = []

    def add_samples(self, parent: Node, tokens: Iterable[int], samples: Sequence[int]) -> Node:
        """Add samples at the end of a path below a node, and return the last node of the path.

        Existing nodes of the path are shared. The last one is not shared if it is already
        computed, because its logits are no longer known.

        Args:
            parent: the node above the path.
            tokens: the path, at least one token.
            samples: the samples whose next token follows the path.
        """
        *inner, last = tokens
        for token in inner:
            parent = parent.children.get(token) or self._add(token, parent)
        node = parent.children.get(last)
        if node is None or node.slot >= 0:
            node = self._add(last, parent)
        node.references += not node.samples
        node.samples += samples
        return node

    def take_samples(self, node: Node) -> list[int]:
        """Remove and return the samples at a node."""
        samples, node.samples = node.samples, []
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
        """Return the request for these leaves and their ancestors that are not computed yet.

        In the example a computed node of slot 4 gets the leaf 8, and the leaf 9 below a new node
        7. Token 7 is token 1 of the call, so the parent of 9 is -3.

        >>> tree = Tree()
        >>> node = tree.add_samples(tree.root, [6], [0, 1])
        >>> tree.set_slots(tree.grow([node]).nodes, [4])
        >>> leaves = [tree.add_samples(node, [8], [0]), tree.add_samples(node, [7, 9], [1])]
        >>> growth = tree.grow(leaves)
        >>> growth.tokens.tolist(), growth.parents.tolist(), growth.at.tolist()
        ([8, 7, 9], [4, 4, -3], [0, 2])
        """
        index: dict[Node, int] = {}
        for leaf in leaves:
            for node in leaf.uncomputed():
                index.setdefault(node, len(index))
        parents = []
        for node in index:
            assert node.parent is not None
            parents.append(-2 - index[node.parent] if node.parent in index else node.parent.slot)
        dropped, self._dropped = self._dropped, []
        return Growth(
            nodes=list(index),
            tokens=np.array([node.token for node in index], np.int32),
            parents=np.array(parents, np.int32),
            at=np.array([index[leaf] for leaf in leaves], np.int32),
            release=np.array(dropped, np.int32),
        )

    def set_slots(self, nodes: Sequence[Node], slots: Sequence[int]) -> None:
        """Record the session's slots of nodes that have been computed."""
        for node, slot in zip(nodes, slots, strict=True):
            node.slot = slot
        self.live += len(nodes)
        self.rows += len(nodes)

    def _add(self, token: int, parent: Node) -> Node:
        node = parent.children[token] = Node(token, parent)
        parent.references += 1
        return node

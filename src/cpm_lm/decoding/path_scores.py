"""Log-probabilities of given tokens on many paths, computed as one tree.

Paths that begin with the same tokens share their nodes, so a passage with four answers, or a
few-shot header with fifteen labels, is computed once. The tree is walked depth first, in calls of
at most BATCH tokens, and what is finished is released, so memory holds one path and one call.
Knows ids and nodes; does not know text.

The last token of a path is never computed: its log-probability stands in its parent's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extend
from cpm_lm.distributions.draw import Scored
from cpm_lm.engines.wants import LogProbs

__all__ = ["BATCH", "Path", "PathScores", "TokenScore", "path_scores", "rows_apart"]

BATCH = 256
"""Tokens of one call: as many as a session computes in one slice."""


@dataclass(frozen=True)
class Path:
    """Token ids, and the index from which they are scored, at least 1."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class TokenScore:
    """The log-probability of one token, and the likeliest tokens in its place."""

    logprob: float
    top_ids: tuple[int, ...] = ()
    top_logprobs: tuple[float, ...] = ()


@dataclass(frozen=True)
class PathScores:
    """The scores of each path's tokens from `start` on, and the rows computed for all."""

    tokens: list[list[TokenScore]]
    rows: int


@dataclass(eq=False)
class _Node:
    """A token of the tree, its children by token, and which of these are scored."""

    token: int
    depth: int
    children: dict[int, _Node] = field(default_factory=dict)
    scored: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By token: the path and the place in it for which the token's log-probability is wanted."""


def path_scores(paths: Sequence[Path], *, top: int = 0) -> Algorithm[PathScores]:
    """Return an algorithm that scores all paths.

    Its nodes: the longest path's, and BATCH.

    Args:
        paths: none is empty; `start` is at least 1, and less than the number of ids.
        top: the number of likeliest tokens to report for each scored token.
    """
    found = [[TokenScore(0.0)] * (len(path.ids) - path.start) for path in paths]
    pending, rows = _inner_nodes(_tree(paths)), 0
    live: list[int] = []
    """The session's nodes on the path to the next token, by depth."""
    done: list[int] = []
    """The session's nodes of the last call that nothing else is below."""
    for start in range(0, len(pending), BATCH):
        batch = pending[start : start + BATCH]
        kept = batch[0].depth
        release = [*done, *live[kept : kept + 1]]  # releasing a node releases what is below it
        live = live[:kept]
        request, above = _request(batch, live, top)
        reply = yield Extend(
            tokens=np.array([node.token for node in batch], np.int32),
            parents=np.array(above, np.int32),
            wants=[request] if len(request.at) else [],
            release=np.array(release, np.int32),
        )
        rows += len(batch)
        if len(request.at):
            _receive(batch, request, reply.answers[0], found)
        live, done = _stack(batch, reply.nodes.tolist(), live)
    return PathScores(tokens=found, rows=rows)


def rows_apart(paths: Sequence[Path]) -> int:
    """Return the rows that the paths need if nothing is shared."""
    return sum(len(path.ids) - 1 for path in paths)


def _tree(paths: Sequence[Path]) -> dict[int, _Node]:
    """Return the roots of the tree, by token."""
    roots: dict[int, _Node] = {}
    for number, path in enumerate(paths):
        children, parent = roots, None
        for place, token in enumerate(path.ids):
            if parent is not None and place >= path.start:
                parent.scored.setdefault(token, []).append((number, place - path.start))
            if place + 1 < len(path.ids):
                parent = children.setdefault(token, _Node(token, place))
                children = parent.children
    return roots


def _inner_nodes(roots: dict[int, _Node]) -> list[_Node]:
    """Return the nodes to compute, depth first."""
    order, stack = [], list(reversed(roots.values()))
    while stack:
        node = stack.pop()
        order.append(node)
        stack.extend(reversed(node.children.values()))
    return order


def _request(batch: Sequence[_Node], live: list[int], top: int) -> tuple[LogProbs, list[int]]:
    """Return what a call wants, and the parents of its tokens.

    `path` holds the latest token of each depth: its node if it is live, -2-k for token k.
    """
    path, parents = list(live), []
    for k, node in enumerate(batch):
        del path[node.depth :]
        parents.append(path[-1] if path else -1)
        path.append(-2 - k)
    at = [k for k, node in enumerate(batch) if node.scored]
    ids = [np.array(list(batch[k].scored), np.int32) for k in at]
    return LogProbs(np.array(at, np.int32), ids, top=top), parents


def _receive(
    batch: Sequence[_Node], want: LogProbs, scored: Scored, found: list[list[TokenScore]]
) -> None:
    """Put the log-probabilities of a call where its paths have them."""
    numbers = iter(scored.logprobs.tolist())
    top_ids, top_logprobs = scored.top_ids.tolist(), scored.top_logprobs.tolist()
    for row, k in enumerate(want.at.tolist()):
        for places in batch[k].scored.values():
            score = TokenScore(next(numbers), tuple(top_ids[row]), tuple(top_logprobs[row]))
            for number, place in places:
                found[number][place] = score


def _stack(
    batch: Sequence[_Node], nodes: list[int], live: list[int]
) -> tuple[list[int], list[int]]:
    """Return the session's nodes on the path to the batch's last token, and the finished ones."""
    path, done = list(live), []
    for node, place in zip(batch, nodes, strict=True):
        done += path[node.depth : node.depth + 1]
        del path[node.depth :]
        path.append(place)
    return path, done

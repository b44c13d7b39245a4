"""Compute given token paths below a prompt: what follows it, by exact probabilities, not by draws.

Knows ids, nodes and wants; does not know text. Which paths are worth a row is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import Answer, Want

__all__ = ["Path", "Paths"]

Path = tuple[int, ...]
"""Ids below the prompt; the empty path is the end of the prompt."""


class Paths:
    """The live nodes of the paths computed below a prompt."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._prompt = prompt
        self._nodes: dict[Path, int] = {}
        self._release: list[int] = []

    def begin(self, wants: Sequence[Want]) -> Algorithm[Sequence[Answer]]:
        """Compute the prompt; the wants' indices are those of its tokens."""
        reply: Extended = yield Extend(
            tokens=np.array(self._prompt, np.int32),
            parents=chain(len(self._prompt)),
            wants=wants,
        )
        self._nodes[()] = int(reply.nodes[-1])
        return reply.answers

    def extend(self, paths: Sequence[Path], wants: Sequence[Want]) -> Algorithm[Sequence[Answer]]:
        """Compute the last token of each path; the wants' indices are those of the paths.

        Args:
            paths: not empty; the path without its last token has been computed.
            wants: what to answer about the tokens that follow the paths.
        """
        release, self._release = self._release, []
        reply: Extended = yield Extend(
            tokens=np.array([path[-1] for path in paths], np.int32),
            parents=np.array([self._nodes[path[:-1]] for path in paths], np.int32),
            wants=wants,
            release=np.array(release, np.int32),
        )
        self._nodes.update(zip(paths, reply.nodes.tolist(), strict=True))
        return reply.answers

    def forget(self) -> None:
        """Release all paths but the prompt, with the next request."""
        # Descendants are released along with the paths of one token.
        self._release += [node for path, node in self._nodes.items() if len(path) == 1]
        self._nodes = {(): self._nodes[()]}

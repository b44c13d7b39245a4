"""Many samples of one prompt, grown as one tree.

Samples that have chosen the same tokens are one node, so n samples cost the number of distinct
prefixes. Sample i depends on nothing but its own numbers: it is the same for every n, every
capacity and every slicing. Knows token ids; text only through the function `watch`.

When the session cannot hold all branches, the longest are grown to their end first and release
their nodes, while the others wait where they are; nothing is computed twice.

Past the model's context (`overflow="slide"`) the older half of a sample's context is dropped and
the newer half is computed again from position 0, once for all samples that agree on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from cpm_lm.decoding.protocol import Algorithm, Extended
from cpm_lm.decoding.rng import UniformSource
from cpm_lm.decoding.tree import Node, Tree
from cpm_lm.distributions.draw import distributions, log_partition
from cpm_lm.distributions.rules import Rules
from cpm_lm.errors import CapacityError

__all__ = ["Continuation", "Limits", "Sampled", "sample"]

Watch = Callable[[int, int], bool]
"""Told sample and token, answers whether the sample's text has reached its end."""
Finish = Callable[[int], None]
"""Told that no token will come for a sample."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What bounds the samples of one prompt."""

    max_tokens: int
    """The most tokens drawn for a sample, an end token included."""
    n_positions: int
    """The model's context in tokens."""
    end_ids: Collection[int]
    """Tokens that end a sample."""
    slide: bool = False
    """Whether to drop the older half of a full context; otherwise a sample ends there."""
    capacity: int = 1 << 30
    """The most nodes held at once."""
    width: int = 512
    """The most rows of logits asked for at once, which bounds working memory."""

    def longest(self, prompt: int) -> int:
        """Return the most tokens that can be drawn after a prompt of this length.

        The last token of a sample is drawn but never computed.
        """
        if self.slide:
            return self.max_tokens
        return min(self.max_tokens, self.n_positions - prompt + 1)

    def rows(self, prompt: int, tokens: int) -> int:
        """Return the rows that one sample alone computes: the prompt, and all its tokens but the
        last; where the context slides, also the newer half again each time.

        >>> Limits(max_tokens=9, n_positions=4, end_ids=(), slide=True).rows(3, 5)
        11

        3 of the prompt, and 1 that fills the context; then 2 kept and 1 new, and 1 more; then 2
        kept and 1 new. The fifth token is drawn, not computed.
        """
        slides = 0
        if (beyond := prompt + tokens - 1 - self.n_positions) > 0:
            slides = -(-beyond // (self.n_positions - self.kept))
        return prompt + tokens - 1 + slides * self.kept

    @property
    def kept(self) -> int:
        """How many tokens of a full context stay when the older half is dropped."""
        return self.n_positions - (self.n_positions + 1) // 2


@dataclass(frozen=True)
class Continuation:
    """One sample in token ids."""

    tokens: tuple[int, ...]
    """The tokens drawn, without the end token."""
    logprob: float
    """Log-probability of what was drawn, the end token included, under the model itself."""
    ended: bool
    """Whether it ended by an end token or by `watch`, rather than by a limit."""


@dataclass(frozen=True)
class Sampled:
    """All samples of one call, and what they cost."""

    continuations: list[Continuation]
    rows: int
    """Forward rows computed: prompt tokens and distinct nodes."""
    rows_unmerged: int
    """Forward rows that as many separate runs would have computed."""


def sample(
    prompt: Sequence[int],
    n: int,
    *,
    rules: Rules,
    draws: UniformSource,
    limits: Limits,
    watch: Watch | None = None,
    finish: Finish | None = None,
) -> Algorithm[Sampled]:
    """Draw n continuations of a prompt of 1 to n_positions tokens.

    Raises:
        CapacityError: the capacity does not hold one sample.
    """
    growth = Growth(prompt, n, rules, draws, limits, watch, finish)
    while growth.pending:
        leaves = growth.next_leaves()
        request, nodes = growth.tree.request(leaves)
        reply: Extended = yield request
        growth.tree.place(nodes, reply.nodes.tolist())
        growth.advance(leaves, reply.logits)
    return growth.result()


class Growth:
    """The state of a call: the tree, the leaves to compute, and what each sample has drawn."""

    def __init__(
        self,
        prompt: Sequence[int],
        n: int,
        rules: Rules,
        draws: UniformSource,
        limits: Limits,
        watch: Watch | None,
        finish: Finish | None,
    ) -> None:
        self.rules, self.draws, self.limits = rules, draws, limits
        self.watch = watch or (lambda _sample, _token: False)
        self.finish = finish or (lambda _sample: None)
        self.prompt = len(prompt)
        self.longest = limits.longest(self.prompt)
        self.most_rows = limits.rows(self.prompt, self.longest)
        if self.most_rows > limits.capacity:
            raise CapacityError(
                f"one sample of up to {self.longest} tokens after {len(prompt)} needs "
                f"{self.most_rows} nodes, and there is room for {limits.capacity}; "
                "allow more memory, or fewer tokens"
            )
        self.tree = Tree()
        self.tokens: list[list[int]] = [[] for _ in range(n)]
        self.drawn = np.zeros(n, np.int64)
        self.logprob = np.zeros(n)
        self.ended = np.zeros(n, bool)
        self.pending = [self.tree.wait(self.tree.root, prompt, range(n))]

    def next_leaves(self) -> list[Node]:
        """Take from `pending` the leaves to compute now.

        After them there must be room for the costliest of the others to run to its end alone.
        Where there is not, the longest leaf goes alone, as does everything below it, until it
        has ended and given its nodes back: there was room for that when it was left waiting.
        """
        self.pending.sort(key=self._drawn_at, reverse=True)
        room = self.limits.capacity - self.tree.live
        room -= self.most_rows - self._rows(self._drawn_at(self.pending[-1]))
        count = 0
        for leaf in self.pending[: self.limits.width]:
            room -= len(leaf.uncomputed())
            if count and room < 0:
                break
            count += 1
        leaves, self.pending = self.pending[:count], self.pending[count:]
        return leaves

    def advance(self, leaves: Sequence[Node], logits: Float32[np.ndarray, "R V"]) -> None:
        """Draw the next token of every sample that waits at these leaves."""
        normaliser = log_partition(logits)
        groups = [np.array(self.tree.leave(leaf)) for leaf in leaves]
        samples = np.concatenate(groups)
        u = self.draws.uniform(samples, self.drawn[samples])
        ends = np.cumsum([len(group) for group in groups])
        drawn = [
            distribution.invert(part)
            for distribution, part in zip(
                distributions(logits, self.rules), np.split(u, ends[:-1]), strict=True
            )
        ]
        tokens, low, high = (np.concatenate(part) for part in zip(*drawn, strict=True))
        self.draws.narrow(samples, low, high)
        rows = np.repeat(np.arange(len(leaves)), [len(group) for group in groups])
        self.logprob[samples] += logits[rows, tokens] - normaliser[rows]
        self.drawn[samples] += 1
        for leaf, group, chosen in zip(leaves, groups, np.split(tokens, ends[:-1]), strict=True):
            self._part(leaf, group.tolist(), chosen.tolist())
            self.tree.prune(leaf)

    def result(self) -> Sampled:
        """Return the samples in order."""
        continuations = [
            Continuation(tuple(tokens), float(logprob), bool(ended))
            for tokens, logprob, ended in zip(self.tokens, self.logprob, self.ended, strict=True)
        ]
        unmerged = sum(map(self._rows, self.drawn.tolist()))
        return Sampled(continuations, self.tree.rows, unmerged)

    def _part(self, leaf: Node, samples: Sequence[int], tokens: Sequence[int]) -> None:
        """Send the samples of a leaf down its new branches, but for those that are at an end."""
        branches: dict[int, list[int]] = {}
        for i, token in zip(samples, tokens, strict=True):
            self.ended[i] = token in self.limits.end_ids
            if not self.ended[i]:
                self.tokens[i].append(token)
                self.ended[i] = self.watch(i, token)
            if self.ended[i] or self.drawn[i] == self.longest:
                self.finish(i)
            else:
                branches.setdefault(token, []).append(i)
        parent, kept = leaf, []
        if branches and leaf.depth == self.limits.n_positions:
            parent, kept = self.tree.root, leaf.path()[-self.limits.kept :]
        for token, group in branches.items():
            child = self.tree.wait(parent, [*kept, token], group)
            if len(child.waiting) == len(group):  # otherwise it is pending already
                self.pending.append(child)

    def _drawn_at(self, leaf: Node) -> int:
        return int(self.drawn[leaf.waiting].min())

    def _rows(self, tokens: int) -> int:
        """Return the rows that a sample of so many tokens computes alone; 0 before the first."""
        return self.limits.rows(self.prompt, tokens) if tokens else 0

"""Many samples of one prompt, grown as one tree.

Samples that have chosen the same tokens are one node, so n samples cost the number of distinct
prefixes. Sample i depends on nothing but its own numbers: it is the same for every n, every
capacity and every slicing. Knows token ids; text only through the function `on_token`.

When the session cannot hold all branches, the longest are grown to their end first and release
their nodes, while the others wait where they are; nothing is computed twice.

Past the model's context (`overflow="slide"`) the older half of a sample's context is dropped and
the newer half is computed again from position 0, once for all samples that agree on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.decoding.rng import UniformSource
from cpm_lm.decoding.tree import Node, Tree
from cpm_lm.distributions.draw import Drawn
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.wants import Draws
from cpm_lm.errors import CapacityError

__all__ = ["Continuation", "Limits", "OnEnd", "OnToken", "Sampled", "sample"]

OnToken = Callable[[int, int], bool]
"""Called with a sample and its next token; returns whether the sample's text has ended."""
OnEnd = Callable[[int], None]
"""Called with a sample for which no token will come."""


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
    """The most rows drawn from at once, which bounds working memory."""

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
    """Whether it ended by an end token or by `on_token`, rather than by a limit."""


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
    source: UniformSource,
    limits: Limits,
    on_token: OnToken | None = None,
    on_end: OnEnd | None = None,
) -> Algorithm[Sampled]:
    """Draw n continuations of a prompt of 1 to n_positions tokens.

    Args:
        prompt: token ids.
        n: how many.
        rules: how logits become the distribution drawn from.
        source: the numbers that tokens are drawn by.
        limits: what bounds the samples.
        on_token: called with each token of each sample, but for end tokens.
        on_end: called once for each sample.

    Raises:
        CapacityError: the capacity does not hold one sample.
    """
    state = _Sampling(prompt, n, rules, source, limits, on_token, on_end)
    while state.pending:
        leaves = state.next_leaves()
        growth = state.tree.grow(leaves)
        reply: Extended = yield Extend(
            tokens=growth.tokens,
            parents=growth.parents,
            wants=[state.draws(leaves, growth.at)],
            release=growth.release,
        )
        state.tree.place(growth.nodes, reply.nodes.tolist())
        state.advance(leaves, reply.answers[0])
    return state.result()


class _Sampling:
    """The state of a call: the tree, the leaves to compute, and what each sample has drawn."""

    def __init__(
        self,
        prompt: Sequence[int],
        n: int,
        rules: Rules,
        source: UniformSource,
        limits: Limits,
        on_token: OnToken | None,
        on_end: OnEnd | None,
    ) -> None:
        self.rules, self.source, self.limits = rules, source, limits
        self.on_token = on_token or (lambda _sample, _token: False)
        self.on_end = on_end or (lambda _sample: None)
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
        has ended and its nodes are released: there was room for that when it was left waiting.
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

    def draws(self, leaves: Sequence[Node], at: Int32[np.ndarray, " R"]) -> Draws:
        """Return the want of the next token of every sample that waits at these leaves."""
        samples = np.concatenate([leaf.waiting for leaf in leaves])
        u = self.source.uniform(samples, self.drawn[samples])
        return Draws(at, [self.rules] * len(leaves), np.split(u, self._ends(leaves)))

    def advance(self, leaves: Sequence[Node], drawn: Drawn) -> None:
        """Give every sample that waits at these leaves its next token."""
        ends = self._ends(leaves)
        groups = [self.tree.leave(leaf) for leaf in leaves]
        samples = np.concatenate(groups)
        self.source.rescale(samples, drawn.low, drawn.high)
        self.logprob[samples] += drawn.logprobs
        self.drawn[samples] += 1
        for leaf, group, chosen in zip(leaves, groups, np.split(drawn.tokens, ends), strict=True):
            self._part(leaf, group, chosen.tolist())
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
        """Send the samples of a leaf down its new branches, but for those that have ended."""
        branches: dict[int, list[int]] = {}
        for i, token in zip(samples, tokens, strict=True):
            self.ended[i] = token in self.limits.end_ids
            if not self.ended[i]:
                self.tokens[i].append(token)
                self.ended[i] = self.on_token(i, token)
            if self.ended[i] or self.drawn[i] == self.longest:
                self.on_end(i)
            else:
                branches.setdefault(token, []).append(i)
        parent, kept = leaf, []
        if branches and leaf.depth == self.limits.n_positions:
            parent, kept = self.tree.root, leaf.path()[-self.limits.kept :]
        for token, group in branches.items():
            child = self.tree.wait(parent, [*kept, token], group)
            if len(child.waiting) == len(group):  # otherwise it is pending already
                self.pending.append(child)

    def _ends(self, leaves: Sequence[Node]) -> Int64[np.ndarray, " ends"]:
        """Return where the samples of each leaf but the last end, among those of all."""
        return np.cumsum([len(leaf.waiting) for leaf in leaves])[:-1]

    def _drawn_at(self, leaf: Node) -> int:
        return int(self.drawn[leaf.waiting].min())

    def _rows(self, tokens: int) -> int:
        """Return the rows that a sample of so many tokens computes alone; 0 before the first."""
        return self.limits.rows(self.prompt, tokens) if tokens else 0

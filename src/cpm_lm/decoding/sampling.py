"""Draw many samples of one prompt as one tree of tokens.

Samples with the same tokens so far share their nodes, so the cost of n samples is the number of
distinct prefixes. Sample i depends only on its own uniform numbers and on the logits after its own
prefixes. On the native engine, whose logits do not depend on what is computed beside them, it is
the same for every n, capacity and slicing. Other engines round by the number of rows of a step:
where a number falls between two tokens within that rounding, a text differs, about 1 in 100. Knows
token ids and the callback `on_token`; does not know text.

If the session cannot hold all branches, the longest branches are completed first and release their
nodes; the others wait with their nodes in the KV cache. No node is computed twice.

If a sample outgrows the model's context (`overflow="slide"`), the older half of its context is
dropped. The newer half is computed again from position 0, once for all samples that share it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.decoding.rng import UniformSource
from cpm_lm.decoding.tree import Node, Tree
from cpm_lm.distributions.draw import Drawn
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.wants import Draws
from cpm_lm.errors import CapacityError
from cpm_lm.shapes import Int32, Int64

__all__ = ["Continuation", "Limits", "OnEnd", "OnToken", "Sampled", "sample"]

OnToken = Callable[[int, int], bool]
"""Called with a sample and its next token; returns whether the sample's text has ended."""
OnEnd = Callable[[int], None]
"""Called with a sample after its last token."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of the samples of one prompt."""

    max_tokens: int
    """The maximum number of tokens drawn for a sample, an end token included."""
    n_positions: int
    """The model's context in tokens."""
    end_ids: Collection[int]
    """Tokens that end a sample."""
    slide: bool = False
    """Whether to drop the older half of a full context; otherwise the sample ends."""
    capacity: int = 1 << 30
    """The maximum number of live nodes."""
    width: int = 512
    """The maximum number of rows drawn from in one request, which bounds the workspace."""

    def longest(self, prompt: int) -> int:
        """Return the maximum number of tokens drawn after a prompt of this length.

        The last token of a sample is drawn but not computed, hence the + 1.
        """
        if self.slide:
            return self.max_tokens
        return min(self.max_tokens, self.n_positions - prompt + 1)

    def rows(self, prompt: int, tokens: int) -> int:
        """Return the rows that one sample alone computes.

        These are the prompt and all its tokens but the last, and after each slide the tokens kept.
        In the example: 3 of the prompt, 1 token that fills the context; slide, 2 kept, 2 tokens;
        slide, 2 kept, 1 token. The fifth token is drawn but not computed.

        >>> Limits(max_tokens=9, n_positions=4, end_ids=(), slide=True).rows(3, 5)
        11
        """
        slides = 0
        if (beyond := prompt + tokens - 1 - self.n_positions) > 0:
            slides = -(-beyond // (self.n_positions - self.kept))
        return prompt + tokens - 1 + slides * self.kept

    @property
    def kept(self) -> int:
        """The number of tokens of a full context that a slide keeps."""
        return self.n_positions - (self.n_positions + 1) // 2


@dataclass(frozen=True)
class Continuation:
    """One sample in token ids."""

    tokens: tuple[int, ...]
    """The tokens drawn, without the end token."""
    logprob: float
    """Log-probability of all tokens drawn, the end token included, under the model itself."""
    ended: bool
    """Whether an end token or `on_token` ended the sample, rather than a limit."""


@dataclass(frozen=True)
class Sampled:
    """All samples of one call, and their cost in rows."""

    continuations: list[Continuation]
    rows: int
    """Forward rows computed: the nodes of the tree, the prompt's included."""
    rows_unmerged: int
    """Forward rows that n separate runs would have computed."""


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
    """Draw n continuations of a prompt.

    Args:
        prompt: token ids, 1 to n_positions.
        n: the number of samples.
        rules: the sampling rules.
        source: the uniform numbers by which tokens are drawn.
        limits: the limits of the samples.
        on_token: called with each token of each sample, except end tokens; returns whether the
            sample has ended.
        on_end: called once for each sample, after its last token.

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
        state.tree.set_slots(growth.nodes, reply.nodes.tolist())
        state.advance(leaves, reply.answers[0])
    return state.result()


class _Sampling:
    """The state of a call: the tree, the leaves to compute, and the tokens of each sample."""

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
                "one sample of up to {longest} tokens after {n_prompt} needs {most_rows} "
                "nodes, and there is room for {capacity}; allow more memory, or fewer "
                "tokens",
                longest=self.longest,
                n_prompt=len(prompt),
                most_rows=self.most_rows,
                capacity=limits.capacity,
            )
        self.tree = Tree()
        self.tokens: list[list[int]] = [[] for _ in range(n)]
        self.drawn = np.zeros(n, np.int64)
        self.logprob = np.zeros(n)
        self.ended = np.zeros(n, bool)
        self.pending = [self.tree.add_samples(self.tree.root, prompt, range(n))]

    def next_leaves(self) -> list[Node]:
        """Take from `pending` the leaves to compute in the next request.

        Longest first. Besides them, the capacity must hold the rest of the costliest pending
        sample. If it does not, the longest leaf is computed alone, then the leaves below it, until
        its samples end and release their nodes. The capacity holds these, because this rule held
        when the leaf was left pending.
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
        """Return the want for the next token of every sample at these leaves."""
        samples = np.concatenate([leaf.samples for leaf in leaves])
        u = self.source.uniform(samples, self.drawn[samples])
        return Draws(at, [self.rules] * len(leaves), np.split(u, self._ends(leaves)))

    def advance(self, leaves: Sequence[Node], drawn: Drawn) -> None:
        """Append the tokens drawn to the samples at these leaves."""
        ends = self._ends(leaves)
        groups = [self.tree.take_samples(leaf) for leaf in leaves]
        samples = np.concatenate(groups)
        self.source.rescale(samples, drawn.low, drawn.high)
        self.logprob[samples] += drawn.logprobs
        self.drawn[samples] += 1
        for leaf, group, chosen in zip(leaves, groups, np.split(drawn.tokens, ends), strict=True):
            self._branch(leaf, group, chosen.tolist())
            self.tree.prune(leaf)

    def result(self) -> Sampled:
        """Return the samples in order."""
        continuations = [
            Continuation(tuple(tokens), float(logprob), bool(ended))
            for tokens, logprob, ended in zip(self.tokens, self.logprob, self.ended, strict=True)
        ]
        unmerged = sum(map(self._rows, self.drawn.tolist()))
        return Sampled(continuations, self.tree.rows, unmerged)

    def _branch(self, leaf: Node, samples: Sequence[int], tokens: Sequence[int]) -> None:
        """Move the samples of a leaf to its new children, except those that have ended."""
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
            child = self.tree.add_samples(parent, [*kept, token], group)
            if len(child.samples) == len(group):  # a child with other samples is already pending
                self.pending.append(child)

    def _ends(self, leaves: Sequence[Node]) -> Int64[np.ndarray, " ends"]:
        """Return the indices at which the leaves' joined samples are split by leaf."""
        return np.cumsum([len(leaf.samples) for leaf in leaves])[:-1]

    def _drawn_at(self, leaf: Node) -> int:
        """Return the tokens drawn by the shortest sample at a leaf; slides make them differ."""
        return int(self.drawn[leaf.samples].min())

    def _rows(self, tokens: int) -> int:
        """Return the rows that a sample of `tokens` tokens computes alone; 0 for none."""
        return self.limits.rows(self.prompt, tokens) if tokens else 0

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from cpm_lm.decoding.limits import Limits
from cpm_lm.decoding.penalties import History, PathFilters
from cpm_lm.decoding.protocol import Algorithm, Extend, Extended
from cpm_lm.decoding.rng import UniformSource
from cpm_lm.decoding.tree import Node, Tree, new_root
from cpm_lm.distributions.draw import NO_TOKEN, Drawn, Scored
from cpm_lm.distributions.edits import Edits
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.wants import Draws, LogProbs, Want
from cpm_lm.errors import CapacityError
from cpm_lm.shapes import Float64, Int32, Int64

__all__ = ["Continuation", "Limits", "OnEnd", "OnToken", "Sampled", "Step", "sample"]

OnToken = Callable[[int, int], bool]
"""Called with a sample and its next token; returns whether the sample's text has ended."""
OnEnd = Callable[[int], None]
"""Called with a sample after its last token."""


@dataclass(frozen=True, eq=False)
class Step:
    """One token drawn, and what the model itself held likeliest there."""

    token: int
    logprob: float
    """Under the model itself: temperature 1, no filters; natural logarithm."""
    top_ids: Int32[np.ndarray, " k"]
    """The likeliest tokens, likeliest first."""
    top_logprobs: Float64[np.ndarray, " k"]


@dataclass(frozen=True)
class Continuation:
    """One sample in token ids."""

    tokens: tuple[int, ...]
    """The tokens drawn, without the end token."""
    logprob: float
    """Log-probability of all tokens drawn, the end token included, under the model itself."""
    ended: bool
    """Whether an end token or `on_token` ended the sample, rather than a limit."""
    banned: bool = False
    """Whether it ended because the filters of its path banned every token."""
    steps: tuple[Step, ...] = ()
    """Each token drawn, the end token included, if `top` asks for them."""


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
    filters: PathFilters | None = None,
    before: Sequence[int] = (),
    top: int = 0,
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
        filters: those that look at a path.
        before: the tokens above the prompt, if it continues a path; only `filters` look at them.
        top: the number of likeliest tokens to record for each token drawn.
        on_token: called with each token of each sample, except end tokens; returns whether the
            sample has ended.
        on_end: called once for each sample, after its last token.

    Raises:
        CapacityError: the capacity does not hold one sample.
    """
    state = _Sampling(prompt, n, rules, source, limits, on_token, on_end)
    state.top = top
    if filters and filters.active:
        state.paths = _Paths(filters, state.pending[0], [*before, *prompt])
    while state.pending:
        leaves = state.next_leaves()
        growth = state.tree.grow(leaves)
        reply: Extended = yield Extend(
            tokens=growth.tokens,
            parents=growth.parents,
            wants=state.wants(leaves, growth.at),
            release=growth.release,
        )
        state.tree.set_slots(growth.nodes, reply.nodes.tolist())
        state.advance(leaves, *reply.answers)
    return state.result()


class _Paths:
    """The histories of the leaves to compute, where there are filters that look at them."""

    def __init__(self, filters: PathFilters, leaf: Node, tokens: Sequence[int]) -> None:
        self.filters = filters
        self._of: dict[Node, History] = {leaf: filters.start(tokens)}
        self._roots: dict[int, Node] = {}

    def edits(self, leaves: Sequence[Node]) -> list[Edits]:
        """Return the edits of the leaves' rows."""
        return self.filters.edits([self._of[leaf] for leaf in leaves])

    def take(self, leaf: Node) -> History:
        """Remove and return the history of a leaf whose next tokens are drawn."""
        return self._of.pop(leaf)

    def root(self, drawn: int) -> Node:
        """Return the root of the samples that slide after this many tokens.

        They have one for themselves: samples that slid at another time may have the same tokens
        in their context, but not the same history.
        """
        if drawn not in self._roots:
            self._roots[drawn] = new_root()
        return self._roots[drawn]

    def add(self, child: Node, history: History, kept: Sequence[int], drawn: int) -> None:
        """Record a child's history; where the context has slid, that of the tokens kept."""
        if kept:
            tokens = [*kept, child.token]
            history = self.filters.start(
                tokens, drawn_in_context=min(drawn, len(tokens)), drawn=drawn
            )
        else:
            history = self.filters.extended(history, child.token)
        self._of[child] = history


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
        self.banned = np.zeros(n, bool)
        self.top = 0
        self.steps: list[list[Step]] = [[] for _ in range(n)]
        self.paths: _Paths | None = None
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

    def wants(self, leaves: Sequence[Node], at: Int32[np.ndarray, " R"]) -> list[Want]:
        """Return the wants for the next token of every sample at these leaves."""
        samples = np.concatenate([leaf.samples for leaf in leaves])
        u = np.split(self.source.uniform(samples, self.drawn[samples]), self._ends(leaves))
        edits = self.paths.edits(leaves) if self.paths else ()
        wants: list[Want] = [Draws(at, [self.rules] * len(leaves), u, edits)]
        if self.top:
            none = np.zeros(0, np.int32)
            wants.append(LogProbs(at, [none] * len(leaves), top=self.top))
        return wants

    def advance(self, leaves: Sequence[Node], drawn: Drawn, likely: Scored | None = None) -> None:
        """Append the tokens drawn to the samples at these leaves."""
        ends = self._ends(leaves)
        groups = [self.tree.take_samples(leaf) for leaf in leaves]
        samples = np.concatenate(groups)
        self.source.rescale(samples, drawn.low, drawn.high)
        self.logprob[samples] += drawn.logprobs
        self.drawn[samples] += 1
        if likely:
            self._record(groups, drawn, likely)
        for leaf, group, chosen in zip(leaves, groups, np.split(drawn.tokens, ends), strict=True):
            self._branch(leaf, group, chosen.tolist())
            self.tree.prune(leaf)

    def result(self) -> Sampled:
        """Return the samples in order."""
        continuations = [
            Continuation(
                tuple(tokens),
                float(self.logprob[i]),
                bool(self.ended[i]),
                bool(self.banned[i]),
                tuple(self.steps[i]),
            )
            for i, tokens in enumerate(self.tokens)
        ]
        unmerged = sum(map(self._rows, self.drawn.tolist()))
        return Sampled(continuations, self.tree.rows, unmerged)

    def _branch(self, leaf: Node, samples: Sequence[int], tokens: Sequence[int]) -> None:
        """Move the samples of a leaf to its new children, except those that have ended."""
        branches: dict[int, list[int]] = {}
        for i, token in zip(samples, tokens, strict=True):
            self.banned[i] = token == NO_TOKEN
            self.ended[i] = self.banned[i] or token in self.limits.end_ids
            if not self.ended[i]:
                self.tokens[i].append(token)
                self.ended[i] = self.on_token(i, token)
            if self.ended[i] or self.drawn[i] == self.longest:
                self.on_end(i)
            else:
                branches.setdefault(token, []).append(i)
        parent, kept = leaf, []
        drawn = int(self.drawn[samples[0]])  # with filters, all samples of a leaf drew as many
        if branches and leaf.depth == self.limits.n_positions:
            parent, kept = self.tree.root, leaf.path()[-self.limits.kept :]
            if self.paths:
                parent = self.paths.root(drawn)
        history = self.paths.take(leaf) if self.paths else None
        for token, group in branches.items():
            child = self.tree.add_samples(parent, [*kept, token], group)
            if len(child.samples) == len(group):  # a child with other samples is already pending
                self.pending.append(child)
                if self.paths and history:
                    self.paths.add(child, history, kept, drawn)

    def _record(self, groups: list[list[int]], drawn: Drawn, likeliest: Scored) -> None:
        """Record the tokens drawn with the likeliest tokens of their rows."""
        rows = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).tolist()
        samples = [i for group in groups for i in group]
        numbers = zip(drawn.tokens.tolist(), drawn.logprobs.tolist(), strict=True)
        for i, row, (token, logprob) in zip(samples, rows, numbers, strict=True):
            if token != NO_TOKEN:
                ids, logprobs = likeliest.top_ids[row], likeliest.top_logprobs[row]
                self.steps[i].append(Step(token, logprob, ids, logprobs))

    def _ends(self, leaves: Sequence[Node]) -> Int64[np.ndarray, " ends"]:
        """Return the indices at which the leaves' joined samples are split by leaf."""
        return np.cumsum([len(leaf.samples) for leaf in leaves])[:-1]

    def _drawn_at(self, leaf: Node) -> int:
        """Return the tokens drawn by the shortest sample at a leaf; slides make them differ."""
        return int(self.drawn[leaf.samples].min())

    def _rows(self, tokens: int) -> int:
        """Return the rows that a sample of `tokens` tokens computes alone; 0 for none."""
        return self.limits.rows(self.prompt, tokens) if tokens else 0

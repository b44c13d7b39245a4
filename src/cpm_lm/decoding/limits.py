"""The limits of the samples of one prompt: tokens, context, nodes and rows.

Knows numbers; does not know how samples are drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

__all__ = ["Limits"]


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

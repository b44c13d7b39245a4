"""The prompt of a request for what comes next: its ids, its notes and the nodes it needs.

Knows tokenizers; does not know what is asked about the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.protocol import Algorithm, Result
from cpm_lm.generation.plan import MIN_CAPACITY
from cpm_lm.generation.prompt import decoder_context, read_prompt
from cpm_lm.generation.word_end import observing
from cpm_lm.tokenizer import Tokenizer

__all__ = ["NextPrompt"]


class NextPrompt:
    """A prompt that is read, and not continued."""

    def __init__(
        self, tokenizer: Tokenizer, config: GPTConfig, prompt: str | Sequence[int], *, special: bool
    ) -> None:
        read = read_prompt(tokenizer, config, prompt, special=special)
        self.ids = read.ids
        self.after = decoder_context(prompt, read.ids)
        """The ids that a decoder of the continuation must know."""
        self._read = read
        self._found: list[str] = []

    def observed(self, algorithm: Algorithm[Result]) -> Algorithm[Result]:
        """Return the algorithm that computes the prompt, which also looks at its last word."""
        self._found = []
        word = self._read.word
        return observing(word, algorithm, self._found) if word else algorithm

    def node_budget(self, paths: int) -> int:
        """Return the capacity for this prompt, and so many rows below it."""
        return max(MIN_CAPACITY, len(self.ids) + paths)

    @property
    def note(self) -> str:
        """The notes about the prompt, a line each."""
        return "\n".join((*self._read.notes, *self._found))

"""Whether a prompt's last word would more likely go on than end where the prompt ends.

Knows tokenizers, and that a prompt and its continuation are encoded apart: `花很好` ends with
`好`, and after it the model does not expect `看`, because it has learnt `好看` as one token. So the
model is asked what it expects in the place of the last word. Does not know the algorithm that
computes the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cpm_lm.decoding.protocol import Algorithm, Extended, Result
from cpm_lm.distributions.draw import Scored
from cpm_lm.engines.wants import LogProbs
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["WordEnd"]


@dataclass(frozen=True, kw_only=True)
class WordEnd:
    """The last word of a prompt, and the tokens that would go on with it."""

    word: str
    at: tuple[int, ...]
    """The indices of the prompt's tokens before each token of the word."""
    ids: tuple[tuple[int, ...], ...]
    """For each of the word's tokens: the token itself, then those that begin with the rest of the
    word and go on."""
    words: tuple[tuple[str, ...], ...]
    """The longer words that the latter make."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, prompt: str, ids: Sequence[int]) -> WordEnd | None:
        """Return the last word of a prompt, if it may go on and a token goes before it.

        Args:
            tokenizer: of the model.
            prompt: the text.
            ids: its ids, as the model reads them.
        """
        if not tokenizer.splits_word(prompt):
            return None
        start = next((i for i in reversed(range(len(ids))) if tokenizer.word_part(ids[i])[1]), 0)
        parts = [tokenizer.word_part(i)[0] for i in ids[start:]]
        word = "".join(parts)
        if not start or not word:
            return None
        by_character = tokenizer.beginnings().by_character
        rows, words = [], []
        for j, own in enumerate(ids[start:]):
            before, rest = "".join(parts[:j]), "".join(parts[j:])
            like = [(i, *tokenizer.word_part(i)) for i in by_character.get(rest[:1], ())]
            longer = [
                (i, before + text)
                for i, text, begins in like
                if begins == (j == 0) and text != rest and text.startswith(rest)
            ]
            rows.append((own, *(i for i, _ in longer)))
            words.append(tuple(text for _, text in longer))
        at = tuple(range(start - 1, len(ids) - 1))
        return cls(word=word, at=at, ids=tuple(rows), words=tuple(words))

    def note(self, scored: Scored) -> str:
        """Return a note if the word would more likely go on than end, else "".

        Args:
            scored: the answer to `want`.
        """
        rows = np.split(scored.logprobs, np.cumsum([len(row) for row in self.ids])[:-1])
        path, joined = 0.0, 0.0
        likeliest: dict[str, float] = {}
        for row, words in zip(rows, self.words, strict=True):
            masses = np.exp(path + row[1:])
            joined += float(masses.sum())
            likeliest |= dict(zip(words, masses.tolist(), strict=True))
            path += float(row[0])
        if joined <= np.exp(path):
            return ""
        longer = max(likeliest, key=likeliest.__getitem__)
        return tr(
            "the prompt ends within a word: the model expects {longer} rather than "
            "{word}; complete the word, or end the prompt before it",
            longer=longer,
            word=self.word,
        )

    @property
    def aside(self) -> str:
        """What may be said whether or not it matters."""
        return tr("the last word of the prompt, {word}, is read as complete", word=self.word)

    @property
    def want(self) -> LogProbs:
        """The want about the rows of the prompt."""
        ids = [np.array(row, np.int32) for row in self.ids]
        return LogProbs(np.array(self.at, np.int32), ids)


def observing(word: WordEnd, algorithm: Algorithm[Result], found: list[str]) -> Algorithm[Result]:
    """Run an algorithm, and ask the rows of its prompt for a note as well; no token is added.

    Args:
        word: the prompt's last word.
        algorithm: not started; its first request is the prompt, perhaps without the last token.
        found: a note is appended, if there is one.
    """
    request = next(algorithm)
    reply = yield replace(request, wants=[*request.wants, word.want])
    if note := word.note(reply.answers[-1]):
        found.append(note)
    answers = reply.answers[:-1]
    try:
        request = algorithm.send(Extended(nodes=reply.nodes, answers=answers))
    except StopIteration as stop:
        result: Result = stop.value
        return result
    while True:
        reply = yield request
        try:
            request = algorithm.send(reply)
        except StopIteration as stop:
            result = stop.value
            return result

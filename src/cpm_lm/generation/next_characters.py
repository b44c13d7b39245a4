"""A request for what a person sees of the next token: characters, and texts of any length.

Knows tokenizers and wants; does not know engines or sessions.

A character can begin many tokens, and a token may have no text at all: CPM's lone word mark says
only that a word begins, and a byte is a part of a character. So the tokens that begin with one
character are summed, and what follows a token without text is computed by one more row.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.paths import Path, Paths
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.display import Row, on_a_line, percent, quoted
from cpm_lm.distributions.checks import check_number
from cpm_lm.distributions.draw import log_partition
from cpm_lm.engines.wants import Logits
from cpm_lm.errors import RequestError
from cpm_lm.generation.likeliest import Likeliest
from cpm_lm.generation.next_prompt import NextPrompt
from cpm_lm.generation.next_texts import TextSearch, most_rows
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.shapes import Float32, Float64
from cpm_lm.tokenizer import Tokenizer

__all__ = ["NextCharacter", "NextCharactersRequest"]

HIDDEN_ROWS = 64
"""The maximum number of rows for tokens without text; with a word mark it takes one or two."""
WIDTH = 16
"""The maximum number of these rows in one request."""
LEAST = 1e-6
"""A token without text is not looked behind below this probability."""

Kind = Literal["text", "end", "special"]


@dataclass(frozen=True, kw_only=True)
class NextCharacter:
    """What may come next, and its probability."""

    text: str
    """A character; a longer text that was asked for; or the name of a token without text."""
    probability: float
    """The probability that what follows the prompt begins so, under the raw model: temperature 1,
    no filters. 0 if it is too small for a float; then see `logprob`."""
    logprob: float
    """Its natural logarithm."""
    kind: Kind = "text"
    """`text`; `end`: the text ends here; `special`: a token without text that ends nothing."""

    def __repr__(self) -> str:
        """Return the text and its probability on one line."""
        parts = [quoted(self.text), percent(self.probability)]
        return on_a_line("NextCharacter", parts if self.kind == "text" else [*parts, self.kind])

    def _row(self) -> Row:
        return self.text, self.probability, percent(self.probability)


class NextCharactersRequest(GenerationRequest[None, Likeliest[NextCharacter]]):
    """The k likeliest next characters, ends among them; see `Model.next_characters`.

    Raises:
        RequestError: k is out of range, the prompt is bad, or a text of `also` cannot follow.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        *,
        k: int,
        also: Iterable[str] = (),
        special: bool = False,
    ) -> None:
        self._k = int(check_number("k", k, low=1, high=tokenizer.vocab_size, whole=True))
        self._tokenizer = tokenizer
        self._prompt = NextPrompt(tokenizer, config, prompt, special=special)
        room = config.n_positions - len(self._prompt.ids)
        self._silent = {tokenizer.piece(i): i for i in tokenizer.silent}
        self._also = [_readable(tokenizer, text, self._silent, room) for text in also]
        self._room = room
        rows = max([HIDDEN_ROWS, *map(most_rows, self._also)])
        self.node_budget = self._prompt.node_budget(rows)
        self._reset()

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that computes the probabilities; see `GenerationRequest`."""
        self._reset()
        ids = self._prompt.ids
        paths = Paths(ids)
        last = Logits(np.array([len(ids) - 1], np.int32))
        answers = yield from self._prompt.observed(paths.begin([last]))
        first = _logprobs(answers[0])[0]
        yield from self._count_characters(paths, first)
        for text in self._also:
            if len(text) > 1 and text not in self._silent:
                paths.forget()
                search = TextSearch(self._tokenizer, self._prompt.after, text, room=self._room)
                self._texts[text] = yield from search.probability(paths, first)
                self._rows += search.rows

    def poll(self) -> Sequence[None]:
        """Return nothing: the result comes at once."""
        return ()

    def result(self) -> Likeliest[NextCharacter]:
        """Return the k likeliest, and what was asked for as well."""
        every = sorted(self._masses.items(), key=lambda item: (-item[1], item[0][1]))
        shown = {
            key: _log(mass)
            for rank, (key, mass) in enumerate(every)
            if rank < self._k or key[1] in self._also
        }
        for text in self._also:
            known = any(name == text for _, name in shown)
            if text in self._texts or not known:
                shown["text", text] = self._texts.get(text, -math.inf)
        found = sorted(shown.items(), key=lambda item: (-item[1], item[0][1]))
        items = (
            NextCharacter(text=text, probability=math.exp(logprob), logprob=logprob, kind=kind)
            for (kind, text), logprob in found
        )
        return Likeliest(items, note=self._prompt.note, rows=len(self._prompt.ids) + self._rows)

    def _reset(self) -> None:
        self._masses: dict[tuple[Kind, str], float] = defaultdict(float)
        self._texts: dict[str, float] = {}
        self._rows = 0

    def _count_characters(self, paths: Paths, first: Float64[np.ndarray, " V"]) -> Algorithm[None]:
        """Sum the tokens by their first character, behind tokens without text as well."""
        pending = self._count((), first)
        left = HIDDEN_ROWS
        while pending:
            pending.sort(reverse=True)
            batch = [path for mass, path in pending if mass > LEAST and len(path) <= self._room]
            batch = batch[: min(WIDTH, left)]
            if not batch:
                break
            masses = {path: mass for mass, path in pending}
            pending = [(mass, path) for mass, path in pending if path not in batch]
            want = Logits(np.arange(len(batch), dtype=np.int32))
            answers = yield from paths.extend(batch, [want])
            for path, row in zip(batch, _logprobs(answers[0]), strict=True):
                pending += self._count(path, math.log(masses[path]) + row)
            left -= len(batch)
            self._rows += len(batch)
        for mass, path in pending:  # by name, so that the sum is one
            name = "".join(self._tokenizer.piece(i) for i in path)
            self._masses["special", name] += mass

    def _count(self, path: Path, logprobs: Float64[np.ndarray, " V"]) -> list[tuple[float, Path]]:
        """Count the tokens after one path; return those without text, with their masses."""
        beginnings = self._tokenizer.beginnings(path, self._prompt.after)
        masses = np.exp(logprobs)
        for character, mass in zip(beginnings.characters, beginnings.sums(masses), strict=True):
            self._masses["text", character] += float(mass)
        for i in beginnings.silent:
            kind: Kind = "end" if i in self._tokenizer.end_ids else "special"
            self._masses[kind, self._tokenizer.piece(i)] += float(masses[i])
        return [(float(masses[i]), (*path, i)) for i in beginnings.hidden if masses[i]]


def _logprobs(logits: Float32[np.ndarray, "R V"]) -> Float64[np.ndarray, "R V"]:
    return logits - log_partition(logits)[:, None]


def _log(mass: float) -> float:
    return math.log(mass) if mass else -math.inf


def _readable(tokenizer: Tokenizer, text: str, silent: Iterable[str], room: int) -> str:
    """Return a text as it is generated, or the name of a token without text.

    Raises:
        RequestError: the text can never follow the prompt.
    """
    if text in silent:
        return text
    plain = tokenizer.as_generated(text)
    if not plain:
        raise RequestError(
            "{text!r} can never follow: the vocabulary lacks it; ask for another text", text=text
        )
    # A space between words of letters is generated, but no id stands for it.
    plain = text[: len(text) - len(text.lstrip(" "))] + plain.lstrip(" ")
    if (needed := len(tokenizer.encode(plain))) > room:
        raise RequestError(
            "{text!r} has {needed} tokens, and the context has room for {room} after "
            "the prompt; shorten one of them",
            text=text[:20],
            needed=needed,
            room=room,
        )
    return plain

"""Measure the packaged model: the figures of its card.

Perplexity is per character, compared with a Kneser-Ney 5-gram model of characters, trained on the
same text. Answers are generated greedily and compared as text. Runs on the default engine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import cpm_lm
from cpm_lm.engines.forest import chain
from cpm_lm.model import Model
from recipes.demo import facts, sums
from recipes.demo.build import PACKAGED
from recipes.demo.kneser_ney import KneserNey
from recipes.demo.settings import Settings
from recipes.demo.texts import read_documents

__all__ = ["evaluate", "log_likelihoods", "ratio"]

BREAK = "\0"
"""The character between documents for the 5-gram model, as <eod> for ours."""
KINDS = {"poems": ("poem",), "prose": ("modern", "novel", "classical")}
FORMS = {"on one line": ",", "one a line": "\n"}


def log_likelihoods(model: Model, ids: list[int]) -> Iterator[float]:
    """Yield the natural log-probability of every token after the first.

    Long texts are read in windows that overlap by half, so that every token outside the first
    window has at least half a context before it.
    """
    length = model.engine.config.n_positions
    scored = 1
    for start in range(0, len(ids), length // 2):
        window = np.array(ids[start : start + length], np.int32)
        # The logits of a token predict the next one.
        at = np.arange(scored - 1 - start, len(window) - 1, dtype=np.int32)
        if not len(at):
            return
        parents = chain(len(window))
        _, logits = model.engine.session(length).extend(window, parents, at)
        logits -= logits.max(axis=1, keepdims=True)
        norms = np.log(np.exp(logits).sum(axis=1))
        yield from (logits[np.arange(len(at)), window[at + 1]] - norms).tolist()
        scored = start + len(window)


def ratio(parts: Iterable[tuple[float, int]]) -> tuple[float, float]:
    """Return the sum of x over the sum of n, and its standard error over independent parts."""
    x, n = np.array(list(parts), np.float64).T
    mean = x.sum() / n.sum()
    return float(mean), float(np.sqrt(((x - mean * n) ** 2).sum()) / n.sum())


def _perplexity(parts: Iterable[tuple[float, int]]) -> dict[str, float]:
    """Return a perplexity per character from documents' nats and lengths."""
    mean, error = ratio(parts)
    return {"value": round(math.exp(mean), 2), "error": round(math.exp(mean) * error, 2)}


class _FiveGrams:
    """The 5-gram model of the training text's characters, the breaks included."""

    def __init__(self, model: Model, ids: np.ndarray) -> None:
        tokenizer = model.tokenizer
        (end,) = tokenizer.end_ids
        pieces = [BREAK if i == end else tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
        text = "".join(pieces[i] for i in ids.tolist())
        # Characters that are not in the training text share one id, as they share <unk>.
        self.numbers = {c: i for i, c in enumerate(sorted(set(text)), 1)}
        self.model = KneserNey(self._ids(BREAK * 4 + text), len(self.numbers) + 1)

    def nats(self, text: str) -> float:
        """Return the negative log-probability of a document and the break after it."""
        return -float(np.log(self.model.probabilities(self._ids(BREAK * 4 + text + BREAK))).sum())

    def _ids(self, text: str) -> np.ndarray:
        return np.array([self.numbers.get(c, 0) for c in text], np.int64)


def perplexities(model: Model, work: Path, settings: Settings) -> dict[str, Any]:
    """Return the perplexity per character of both models on held-out poems and prose."""
    grams = _FiveGrams(model, np.load(work / "ids.npy"))
    tokenizer = model.tokenizer
    (end,) = tokenizer.end_ids
    documents = read_documents(work / "held_out.jsonl")
    result = {}
    for name, kinds in KINDS.items():
        texts = [d.text for d in documents if d.kind in kinds][: settings.test_documents]
        coded = [tokenizer.encode(text) for text in texts]
        plain = [tokenizer.decode(ids) for ids in coded]
        sizes = [len(text) + 1 for text in plain]
        own = [-sum(log_likelihoods(model, [end, *ids, end])) for ids in coded]
        result[name] = {
            "documents": len(texts),
            "characters": sum(sizes),
            "model": _perplexity(zip(own, sizes, strict=True)),
            "five_grams": _perplexity(zip(map(grams.nats, plain), sizes, strict=True)),
        }
    return result


def accuracy(model: Model, questions: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return the share of correct answers; answers are greedy and end at a comma or line end."""
    right = [
        model.sample(prompt, temperature=0, max_tokens=12, stop=[",", "\n", "。"])[0].text.strip()
        == answer
        for prompt, answer in questions
    ]
    share = float(np.mean(right))
    error = math.sqrt(share * (1 - share) / len(right))
    return {"questions": len(right), "share": round(share, 4), "error": round(error, 4)}


def sum_questions(
    settings: Settings, sign: str, between: str, *, trained: bool
) -> list[tuple[str, str]]:
    """Return a few-shot question for every held-out pair, or for 300 pairs trained on."""
    rng = random.Random(settings.seed)
    hidden = sums.held_out_pairs(settings.held_out_sums, settings.seed)
    pairs = [(a, b) for b in range(10, sums.TOP + 1) for a in range(b + 1)]
    pairs = [pair for pair in pairs if (pair in hidden) != trained]
    if sign == "-":
        pairs = [pair for pair in pairs if sum(pair) <= sums.TOP]
    if trained:
        pairs = rng.sample(pairs, 300)
    return [sums.prompt(pair, sign, between, hidden, rng) for pair in pairs]


def evaluate(work: Path, settings: Settings) -> dict[str, Any]:
    """Return all figures of the card."""
    model = cpm_lm.load(PACKAGED)
    rng = random.Random(settings.seed)
    result: dict[str, Any] = {"engine": model.engine.name}
    result["sums"] = {
        f"{name}, {form}, {'trained on' if trained else 'held out'}": accuracy(
            model, sum_questions(settings, sign, between, trained=trained)
        )
        for name, sign in (("sums", "+"), ("differences", "-"))
        for form, between in FORMS.items()
        for trained in (False, True)
    }
    result["facts"] = {
        name: accuracy(model, [facts.prompt(name, row, rng) for row in facts.table(name)])
        for name in facts.LISTS
    }
    result["perplexity"] = perplexities(model, work, settings)
    return result

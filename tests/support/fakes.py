"""Fake engine and tokenizer: the next-token distribution is a function of the tokens so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np

from cpm_lm.config import GPTConfig
from cpm_lm.engines.base import Engine, HostSession
from cpm_lm.engines.reference import ReferenceEngine
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.base import Decoder

NextLogits = Callable[[tuple[int, ...]], Sequence[float]]


class FakeEngine(Engine):
    """The logits after a path of tokens are `next_logits(path)`."""

    name = "fake"

    def __init__(self, next_logits: NextLogits, vocab_size: int, n_positions: int = 64) -> None:
        self.config = GPTConfig(
            vocab_size=vocab_size, n_positions=n_positions, n_embd=2, n_layer=1, n_head=1
        )
        self.next_logits = next_logits
        self.sessions: list[FakeSession] = []

    def session(self, capacity: int = 1024) -> FakeSession:
        self.sessions.append(FakeSession(self, capacity))
        return self.sessions[-1]


class FakeSession(HostSession):
    def __init__(self, engine: FakeEngine, capacity: int) -> None:
        super().__init__(engine.config, capacity)
        self.next_logits = engine.next_logits
        self.paths: dict[int, tuple[int, ...]] = {}
        self.rows = 0
        self.calls: list[int] = []
        self.lives: list[int] = []

    @property
    def most_live(self) -> int:
        return max(self.lives)

    def _forward(self, tokens: Any, nodes: Any) -> Any:
        for token, node in zip(tokens.tolist(), nodes.tolist(), strict=True):
            parent = int(self._forest._parent[node])
            self.paths[node] = (*(self.paths[parent] if parent >= 0 else ()), token)
        self.rows += len(tokens)
        self.calls.append(len(tokens))
        self.lives.append(self.live)
        return nodes.tolist()

    def _logits(self, hidden: Any, rows: Any) -> Any:
        found = [self.next_logits(self.paths[hidden[i]]) for i in rows.tolist()]
        return np.array(found, np.float32).reshape(len(found), self.config.vocab_size)


def log(*masses: float) -> list[float]:
    """The logits of a distribution given by its masses."""
    return [float(np.log(m)) if m else -1e4 for m in masses]


def hashed(vocab_size: int, spread: float = 2.0) -> NextLogits:
    """Pseudorandom logits, which depend only on the path, on every machine."""

    def next_logits(path: tuple[int, ...]) -> Sequence[float]:
        key = 0
        for token in path:
            key = (key * 1000003 + token + 1) % 2**61
        rng = np.random.Generator(np.random.Philox(key=key))
        return (spread * rng.standard_normal(vocab_size)).tolist()

    return next_logits


def random_engine(
    vocab_size: int = 40, n_positions: int = 32, scale: float = 0.6
) -> ReferenceEngine:
    """The reference engine with random weights, so that logits depend on attention."""
    config = GPTConfig(
        vocab_size=vocab_size, n_positions=n_positions, n_embd=16, n_layer=2, n_head=2
    )
    rng = np.random.default_rng(0)
    D = config.n_embd
    shapes: dict[str, tuple[int, ...]] = {
        "wte.weight": (vocab_size, D),
        "wpe.weight": (n_positions, D),
    }
    for i in range(config.n_layer):
        for name, inner, outer in (
            ("attn.c_attn", D, 3 * D),
            ("attn.c_proj", D, D),
            ("mlp.c_fc", D, 4 * D),
            ("mlp.c_proj", 4 * D, D),
        ):
            shapes |= {f"h.{i}.{name}.weight": (inner, outer), f"h.{i}.{name}.bias": (outer,)}
        for name in ("ln_1", "ln_2"):
            shapes |= {f"h.{i}.{name}.weight": (D,), f"h.{i}.{name}.bias": (D,)}
    shapes |= {"ln_f.weight": (D,), "ln_f.bias": (D,)}
    weights = {
        name: (scale * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    return ReferenceEngine(config, weights)


class FakeDecoder(Decoder):
    def __init__(self, letters: str) -> None:
        self.letters = letters

    def feed(self, token: SupportsIndex) -> str:
        return self.letters[token]

    def flush(self) -> str:
        return ""


class FakeTokenizer(Tokenizer):
    """One character per id; id 0 is the end token and has no text."""

    def __init__(self, letters: str) -> None:
        self.letters = letters
        self.vocab_size = len(letters)
        self.end_ids = frozenset({0})
        self.prefix_ids: tuple[int, ...] = ()
        self.pad_id = None

    @staticmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        return ()

    @classmethod
    def read(cls, directory: Path, text_style: str | None = None) -> FakeTokenizer:
        return cls("")

    def encode(self, text: str) -> list[int]:
        return [self.letters.index(c, 1) for c in text if c in self.letters[1:]]

    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        return "".join(self.letters[i] for i in ids)

    def decoder(self, after: Iterable[SupportsIndex] = ()) -> FakeDecoder:
        return FakeDecoder(self.letters)

    def piece(self, token: SupportsIndex) -> str:
        return self.letters[token]

    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        return 0

    def splits_word(self, prompt: str) -> bool:
        return prompt[-1:].isalpha()


class PieceTokenizer(FakeTokenizer):
    """Pieces of any length; a mark begins a word, and is alone a piece without text.

    Id 0 ends a text, and pieces in brackets are special. Encoding takes the longest pieces.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        super().__init__("")
        self.pieces = list(pieces)
        self.vocab_size = len(pieces)
        self.special_ids = {piece: i for i, piece in enumerate(pieces) if piece[:1] == "<"}
        shown = ["" if piece[:1] == "<" else piece.replace("▁", "") for piece in pieces]
        self.letters = shown  # type: ignore[assignment]  # what the decoder indexes

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        while text:
            fitting = [i for i, t in enumerate(self.letters) if t and text.startswith(t)]
            if fitting:
                ids.append(max(fitting, key=lambda i: len(self.letters[i])))
            text = text[len(self.letters[ids[-1]]) if fitting else 1 :]
        return ids

    def piece(self, token: SupportsIndex) -> str:
        return self.letters[token] or self.pieces[token]

    def word_part(self, token: SupportsIndex) -> tuple[str, bool]:
        return self.letters[token], self.pieces[token].startswith("▁")

"""Every number of the recipe, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Mix", "Phase", "Settings"]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How much text of each kind a phase adds to what the last one left over, in characters."""

    characters: dict[str, int] = field(default_factory=dict)
    """Of the corpus, by kind; each document is used in one phase only."""
    repeats: dict[str, int] = field(default_factory=dict)
    """Kinds that are read more than once."""
    sum_characters: int = 0
    """Sums and differences of numbers up to 99; nine characters are an equation."""
    small_sum_characters: int = 0
    """Of numbers up to 9 and 20."""
    fact_characters: int = 0
    """Capitals, words in English, dynasties, the sky; ten characters are a fact."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One pass of training over its own text, with its own schedule."""

    mix: Mix
    tokens: int = 1_000_000_000
    """How much of the text is read, at most."""
    stages: tuple[tuple[int, float], ...]
    """Length of the windows and share of the ids: short windows first, they are cheaper."""
    batch_tokens: int
    """Tokens in a step."""
    rate: float
    """The highest learning rate, after a linear warm-up."""
    warmup_steps: int = 100
    cosine_steps: int | None = None
    """Where the cosine would end; None: with the phase."""
    final_rate_share: float
    """The rate there, as a share of `rate`."""


FIRST = Phase(
    mix=Mix(
        characters={
            "primer": 100_000,
            "poem": 1_700_000,
            "modern": 450_000,
            "novel": 500_000,
            "classical": 150_000,
            "pairs": 200_000,
            "riddle": 50_000,
            "dialogue": 20_000,
            "law": 30_000,
        },
        repeats={"primer": 3, "dialogue": 5},
        sum_characters=1_500_000,
        fact_characters=300_000,
    ),
    tokens=4_096_000,
    stages=((256, 1.0),),
    batch_tokens=2_048,
    rate=2e-3,
    cosine_steps=2_596,
    final_rate_share=0.05,
)
"""Mixed text in large steps; the schedule is cut off, since another phase goes on. Poems are the
kind in which so small a model reads best; laws repeat themselves. The poems every child knows and
the few greetings are repeated."""

SECOND = Phase(
    mix=Mix(small_sum_characters=930_000, fact_characters=550_000),
    stages=((256, 0.85), (512, 0.15)),
    batch_tokens=512,
    rate=1e-3,
    final_rate_share=0.02,
)
"""The rest of the first text, and much that is to be known by heart: four times as many steps for
each token teach the small sums, which the large steps had not."""

THIRD = Phase(
    mix=Mix(
        characters={
            "poem": 800_000,
            "modern": 100_000,
            "novel": 500_000,
            "classical": 150_000,
            "pairs": 200_000,
            "riddle": 50_000,
        },
        sum_characters=250_000,
        small_sum_characters=200_000,
        fact_characters=400_000,
    ),
    tokens=2_000_000,
    stages=((256, 0.85), (512, 0.15)),
    batch_tokens=512,
    rate=1e-3,
    final_rate_share=0.02,
)
"""Mostly new poems and prose again, so that the lessons do not crowd them out."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a run is made of; written beside its results."""

    seed: int = 20201114
    """Of every random choice; the choices by hash do not depend on it."""
    held_out_percent: float = 1.0
    """Share of the documents set aside, chosen by the hash of the document."""
    section_characters: int = 1200
    """Prose is cut into documents of at least this many characters, between paragraphs."""
    overlap: float = 0.5
    """A document with more than this share of its sentences already seen is a duplicate."""

    held_out_sums: int = 1_200
    """Pairs of numbers kept from training in every form; at least one has two digits."""

    pieces: int = 8_000
    """V. 1.1 tokens a character, and the embedding stays a third of the model."""
    common_characters: int = 4_400
    """Text with rarer characters is left out, so that pieces are not spent on them: the
    corpus has 9,000 characters, most of them in a few old poems."""
    tokenizer_characters: int = 2_000_000
    """The pieces are learned from this much of the training text."""

    shape: dict[str, int] = field(
        default_factory=lambda: {"n_positions": 512, "n_embd": 192, "n_layer": 6, "n_head": 6}
    )
    """Deep enough to exercise an engine, small enough to read nine million tokens in an hour."""
    compute_dtype: str = "mixed_bfloat16"
    """Weights in float32, products in bfloat16: faster where the processor has them."""
    phases: tuple[Phase, ...] = (FIRST, SECOND, THIRD)
    weight_decay: float = 0.05
    """Of matrices and embeddings."""
    log_tokens: int = 256_000
    """Between two lines of the log, and two saves of the weights."""
    logged_windows: int = 32
    """Held-out windows of 256 tokens, of each kind, whose loss is in the log; a multiple of 8."""

    stored_as: str = "f16"
    """The number format of the packaged weights."""
    test_documents: int = 400
    """The most held-out documents of each kind that are measured."""

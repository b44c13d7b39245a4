"""Every number of the recipe, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from cpm_lm.choices import WeightFormat

__all__ = ["Mix", "Settings"]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How much text of each kind is trained on, in characters."""

    characters: dict[str, int] = field(default_factory=dict)
    """Of the corpus, by kind."""
    repeats: dict[str, int] = field(default_factory=dict)
    """How often a kind is repeated, if more than once."""
    sum_characters: int = 0
    """Sums and differences of numbers up to 99; nine characters are an equation."""
    small_sum_characters: int = 0
    """Of numbers up to 9 and 20."""
    fact_characters: int = 0
    """Capitals, words in English, dynasties, the sky; ten characters are a fact."""


MIX = Mix(
    characters={
        "primer": 100_000,
        "poem": 5_000_000,
        "modern": 600_000,
        "novel": 1_600_000,
        "classical": 300_000,
        "pairs": 450_000,
        "riddle": 120_000,
        "dialogue": 20_000,
        "law": 30_000,
    },
    repeats={"primer": 6, "dialogue": 10, "modern": 2},
    sum_characters=2_000_000,
    small_sum_characters=400_000,
    fact_characters=1_000_000,
)
"""All poems, which so small a model learns best; as much prose as an hour of training allows; few
laws, because they are repetitive. Well-known poems, dialogues and modern prose are repeated."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run; written beside its results."""

    seed: int = 20201114
    """For every random choice; choices by hash do not depend on it."""
    held_out_percent: float = 1.0
    """Percentage of the documents that is held out, chosen by the hash of the document."""
    section_characters: int = 1200
    """Prose is split between paragraphs into documents of at least this many characters."""
    overlap: float = 0.5
    """A document is a duplicate if more than this share of its sentences occurred before."""

    held_out_sums: int = 1_200
    """Pairs of numbers held out in every form; at least one number has two digits."""

    pieces: int = 8_000
    """V: 1.1 tokens a character, and the embedding is a third of the model."""
    common_characters: int = 4_400
    """Text with rarer characters is left out, so that they need no pieces: the corpus has 9,000
    different characters, most of them in a few old poems."""
    tokenizer_characters: int = 2_000_000
    """The tokenizer is trained on this much of the training text."""

    shape: dict[str, int] = field(
        default_factory=lambda: {"n_positions": 512, "n_embd": 192, "n_layer": 6, "n_head": 6}
    )
    """Deep enough to test an engine, small enough to train on twelve million tokens in an hour."""
    compute_dtype: str = "mixed_bfloat16"
    """Weights in float32, products in bfloat16: faster on processors that have it."""
    mix: Mix = MIX
    stages: tuple[tuple[int, float], ...] = ((128, 0.7), (256, 0.2), (512, 0.1))
    """Length of the windows and share of the ids; short windows come first, they cost less."""
    batch_tokens: int = 2_048
    """Tokens in a step."""
    rate: float = 3e-3
    """The highest learning rate, after a linear warm-up; then linear decay to zero."""
    warmup_steps: int = 100
    weight_decay: float = 0.05
    """Of matrices and embeddings."""
    log_tokens: int = 256_000
    """Between two lines of the log, and two saves of the weights."""
    logged_windows: int = 32
    """Held-out windows of 256 tokens, of each kind, whose loss is in the log; a multiple of 8."""

    stored_as: WeightFormat = "f16"
    """The number format of the packaged weights."""
    test_documents: int = 400
    """The most held-out documents of each kind that are measured."""

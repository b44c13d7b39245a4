"""Libraries that draw many texts of one prompt from the model's own distribution.

Each is a call with a prompt, how many texts, and a seed; it knows ids, and what ends a text.
"""

from __future__ import annotations

import abc
from collections.abc import Set
from pathlib import Path

from cpm_lm.checkpoints.layouts.store import Store

__all__ = ["CTranslate2", "Drawer", "Drawn", "HuggingFace"]

Drawn = list[tuple[int, ...]]
"""Texts as ids, without what ended them."""


class Drawer(abc.ABC):
    """A library with the model loaded.

    Args:
        directory: a store; a library reads what its numbers mean in float32.
        ends: ids that end a text.
        tokens: the most that a text may have.
        threads: the same number for all.
    """

    about: str
    """Its version, and how it computes."""

    @abc.abstractmethod
    def __init__(self, directory: Path, ends: Set[int], tokens: int, threads: int) -> None: ...

    @abc.abstractmethod
    def __call__(self, prompt: list[int], n: int, seed: int) -> Drawn:
        """Draw `n` independent texts at temperature 1, nothing filtered."""


class HuggingFace(Drawer):
    """`generate(num_return_sequences=n)` in float32."""

    def __init__(self, directory: Path, ends: Set[int], tokens: int, threads: int) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.torch = torch
        self.gpt = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32)
        self.gpt.eval()
        self.tokens, self.ends = tokens, sorted(ends)
        self.about = f"transformers {transformers.__version__}, torch {torch.__version__}, float32"

    def __call__(self, prompt: list[int], n: int, seed: int) -> Drawn:
        self.torch.manual_seed(seed)
        ids = self.torch.tensor([prompt])
        with self.torch.inference_mode():
            rows = self.gpt.generate(
                ids,
                attention_mask=self.torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=n,
                max_new_tokens=self.tokens,
                eos_token_id=self.ends,
                pad_token_id=self.ends[0],
            )
        return [self.ended(row) for row in rows[:, len(prompt) :].tolist()]

    def ended(self, row: list[int]) -> tuple[int, ...]:
        """Return a text up to what ended it; padding follows."""
        at = next((k for k, token in enumerate(row) if token in self.ends), len(row))
        return tuple(row[:at])


class CTranslate2(Drawer):
    """`generate_batch(num_hypotheses=n)`: the prompt is computed once, as here.

    Args:
        path: where its model is written.
        form: "float32", or "int8", which it rounds from the store's numbers.
    """

    def __init__(
        self,
        directory: Path,
        ends: Set[int],
        tokens: int,
        threads: int,
        *,
        path: Path,
        form: str,
    ) -> None:
        import ctranslate2

        from benchmarks.peers import ct2

        ct2.write(path, Store.open(directory), form)
        self.library, self.words = ctranslate2, ct2.words
        self.generator = ctranslate2.Generator(
            str(path), device="cpu", compute_type=form, inter_threads=1, intra_threads=threads
        )
        self.tokens, self.ends = tokens, sorted(ends)
        self.about = f"ctranslate2 {ctranslate2.__version__}, {form}"

    def __call__(self, prompt: list[int], n: int, seed: int) -> Drawn:
        self.library.set_random_seed(seed)
        [result] = self.generator.generate_batch(
            [self.words(prompt)],
            beam_size=1,
            num_hypotheses=n,
            sampling_topk=0,
            sampling_temperature=1.0,
            max_length=self.tokens,
            end_token=self.ends,
            include_prompt_in_result=False,
        )
        return [tuple(text) for text in result.sequences_ids]

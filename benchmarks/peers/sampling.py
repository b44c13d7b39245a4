"""Libraries that sample many texts from one prompt at temperature 1.

Each is called with a prompt, the number of texts and a seed. Knows ids and end tokens, no text.
"""

from __future__ import annotations

import abc
from collections.abc import Set
from pathlib import Path

from cpm_lm.checkpoints.layouts.store import Store

__all__ = ["CTranslate2", "HuggingFace", "Sampler", "Samples"]

Samples = list[tuple[int, ...]]
"""Texts as ids, without their end tokens."""


class Sampler(abc.ABC):
    """A library with the model loaded.

    Args:
        directory: a store; the libraries read its weights as float32.
        ends: ids that end a text.
        tokens: the most that a text may have.
        threads: how many it uses.
    """

    about: str
    """Its version, and how it computes."""

    @abc.abstractmethod
    def __init__(self, directory: Path, ends: Set[int], tokens: int, threads: int) -> None: ...

    @abc.abstractmethod
    def __call__(self, prompt: list[int], n: int, seed: int) -> Samples:
        """Sample `n` independent texts, without top-k and top-p."""


class HuggingFace(Sampler):
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

    def __call__(self, prompt: list[int], n: int, seed: int) -> Samples:
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
        """Return a text up to its end token; padding follows."""
        at = next((k for k, token in enumerate(row) if token in self.ends), len(row))
        return tuple(row[:at])


class CTranslate2(Sampler):
    """`generate_batch(num_hypotheses=n)`: the prompt is prefilled once, as here.

    Args:
        path: where its model is written.
        form: "float32", or "int8", quantized from the store's weights.
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

    def __call__(self, prompt: list[int], n: int, seed: int) -> Samples:
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

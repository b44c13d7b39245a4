"""Hugging Face's GPT-2 in PyTorch, on the same store, with its own growing KV cache."""

from __future__ import annotations

import numpy as np
import torch
import transformers

from benchmarks.measuring import About, weights_read
from benchmarks.peers.files import Files
from benchmarks.peers.interface import Stepping

__all__ = ["HuggingFace", "open_implementation"]

BITS = {"f32": 32, "f16": 16, "bf16": 16}
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class HuggingFace(Stepping):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.gpt = transformers.GPT2LMHeadModel.from_pretrained(
            files.store(form), dtype=DTYPES[form]
        ).eval()
        self.vocab_size = files.config.vocab_size
        self.about = About(
            version=f"transformers {transformers.__version__}, torch {torch.__version__}, {form}",
            build=f"{torch.backends.cpu.get_cpu_capability()}, {threads} threads",
            bytes_per_token=weights_read(files.config) * BITS[form] // 8,
            bits=BITS[form],
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            found = self.gpt(
                input_ids=ids, past_key_values=self.cache, use_cache=True, logits_to_keep=1
            )
        return found.logits[:, 0].float()

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        self.cache = transformers.DynamicCache()
        logits = self.forward(torch.from_numpy(ids.astype(np.int64))[None])
        if rows > 1:
            self.cache.batch_repeat_interleave(rows)
        return logits[0].numpy()

    def step(self, tokens: np.ndarray) -> np.ndarray:
        return self.forward(torch.from_numpy(tokens.astype(np.int64))[:, None]).numpy()


def open_implementation(files: Files, form: str, threads: int) -> HuggingFace:
    return HuggingFace(files, form, threads)

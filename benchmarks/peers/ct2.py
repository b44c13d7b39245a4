"""CTranslate2: it generates whole texts; a step's time is the difference of two lengths."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
from ctranslate2.specs import TransformerDecoderModelSpec
from ctranslate2.specs.common_spec import Activation

from benchmarks.measuring import PREFILL, About
from benchmarks.peers.files import Files
from benchmarks.peers.interface import SHORT, Implementation, prompt
from cpm_lm.checkpoints.layouts.store import Store

__all__ = ["open_implementation", "words", "write"]

BITS = {"float32": 32, "int8": 8}


def write(path: Path, store: Store, form: str) -> None:
    """Write a model through CTranslate2's own specification, as its converters do."""
    c = store.config
    spec = TransformerDecoderModelSpec.from_config(
        c.n_layer, c.n_head, pre_norm=True, activation=Activation.GELUTanh
    )

    def tensor(name: str) -> np.ndarray:
        return np.array(store.float32(name))  # a copy: quantization works in place

    def norm(target: Any, name: str) -> None:
        target.gamma, target.beta = tensor(f"{name}.weight"), tensor(f"{name}.bias")

    def linear(target: Any, name: str) -> None:
        target.weight = np.ascontiguousarray(tensor(f"{name}.weight").T)
        target.bias = tensor(f"{name}.bias")

    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = tensor("wte.weight")
    decoder.position_encodings.encodings = tensor("wpe.weight")
    decoder.projection.weight = decoder.embeddings.weight
    norm(decoder.layer_norm, "ln_f")
    for i, layer in enumerate(decoder.layer):
        norm(layer.self_attention.layer_norm, f"h.{i}.ln_1")
        linear(layer.self_attention.linear[0], f"h.{i}.attn.c_attn")
        linear(layer.self_attention.linear[1], f"h.{i}.attn.c_proj")
        norm(layer.ffn.layer_norm, f"h.{i}.ln_2")
        linear(layer.ffn.linear_0, f"h.{i}.mlp.c_fc")
        linear(layer.ffn.linear_1, f"h.{i}.mlp.c_proj")
    spec.register_vocabulary([str(i) for i in range(c.vocab_size)])
    spec.config.layer_norm_epsilon = c.layer_norm_epsilon
    spec.config.unk_token = spec.config.bos_token = spec.config.eos_token = "0"
    spec.validate()
    spec.optimize(quantization=form)
    path.mkdir(exist_ok=True)
    spec.save(str(path))


class CTranslate2(Implementation):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        path = files.make(f"ct2-{form}", lambda path: write(path, files.f32, form))
        self.generator = ctranslate2.Generator(
            str(path), device="cpu", compute_type=form, inter_threads=1, intra_threads=threads
        )
        self.vocab_size = files.config.vocab_size
        positions = 4 * files.config.n_positions * files.config.n_embd
        self.about = About(
            version=f"ctranslate2 {ctranslate2.__version__}, {form}",
            build=f"wheel, {ctranslate2.get_supported_compute_types('cpu')}, {threads} threads",
            bytes_per_token=(path / "model.bin").stat().st_size - positions,
            bits=BITS[form],
        )

    def check(self) -> dict[str, np.ndarray]:
        ids = prompt(SHORT + 1, self.vocab_size)
        logits = np.array(self.generator.forward_batch([words(ids)], return_log_probs=False))
        first = self.generate(ids, 1, 1)[0]
        if first != logits[0, -1].argmax():
            raise RuntimeError("ctranslate2 generates another token than its logits' argmax")
        return {"forward": logits[0, -1]}

    def generate(self, ids: np.ndarray, rows: int, tokens: int) -> list[int]:
        """Generate greedily and return the first text's tokens."""
        results = self.generator.generate_batch(
            [words(ids)] * rows,
            max_batch_size=rows,
            min_length=tokens,
            max_length=tokens,
            sampling_topk=1,
            beam_size=1,
            include_prompt_in_result=False,
            end_token=[],
        )
        assert all(len(result.sequences_ids[0]) == tokens for result in results)
        return results[0].sequences_ids[0]

    def seconds(self, ids: np.ndarray, rows: int, tokens: int) -> float:
        start = time.perf_counter()
        self.generate(ids, rows, tokens)
        return time.perf_counter() - start

    def decode(self, steps: int) -> float:
        return self.rows(1, steps)

    def prefill(self, tokens: int = PREFILL) -> float:
        return self.seconds(prompt(tokens, self.vocab_size), 1, 1)

    def rows(self, count: int, steps: int) -> float:
        ids = prompt(SHORT, self.vocab_size)
        for _ in range(5):
            short, long = self.seconds(ids, count, 1), self.seconds(ids, count, 1 + steps)
            if long > short:
                return (long - short) / steps
        raise RuntimeError(f"{steps} more steps take no more time: the machine is too busy")


def words(ids: Iterable[int]) -> list[str]:
    """Return the words of ids: the vocabulary is the ids as decimal numbers."""
    return [str(i) for i in ids]


def open_implementation(files: Files, form: str, threads: int) -> CTranslate2:
    return CTranslate2(files, form, threads)

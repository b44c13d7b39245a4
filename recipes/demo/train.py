"""Train the model on the prepared ids; imports Keras."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from jaxtyping import UInt16

from cpm_lm.config import GPTConfig
from cpm_lm.gpt.gpt import GPT
from recipes.demo.batches import stages
from recipes.demo.log import Log
from recipes.demo.settings import Phase, Settings

__all__ = ["train"]


def train(work: Path, settings: Settings) -> dict[str, Any]:
    """Train from scratch phase by phase; return figures for the results."""
    keras.utils.set_random_seed(settings.seed)
    config = GPTConfig.from_json({"vocab_size": settings.pieces, **settings.shape})
    model = GPT(config, dtype=settings.compute_dtype)
    log = Log(work, settings)
    for number, phase in enumerate(settings.phases, 1):
        _run(model, np.load(work / f"ids-{number}.npy"), phase, settings, log)
    log.write()
    return {"steps": log.step, "seconds": round(time.time() - log.started), "tokens": log.tokens}


def _run(
    model: GPT, ids: UInt16[np.ndarray, " n"], phase: Phase, settings: Settings, log: Log
) -> None:
    steps = sum(len(cut) // batch for cut, batch in stages(ids, phase))
    model.compile(
        _optimizer(phase, steps, settings.weight_decay),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # on a CPU, TensorFlow's own bfloat16 products beat XLA's
    )
    for cut, batch in stages(ids, phase):
        log.tokens_in_step = batch * (cut.shape[1] - 1)
        model.fit(
            cut[:, :-1],
            cut[:, 1:],
            batch_size=batch,
            shuffle=False,
            verbose=0,
            callbacks=[log],
        )


def _optimizer(phase: Phase, steps: int, weight_decay: float) -> Any:
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        (phase.cosine_steps or steps) - phase.warmup_steps,
        alpha=phase.final_rate_share,
        warmup_target=phase.rate,
        warmup_steps=phase.warmup_steps,
    )
    optimizer = keras.optimizers.AdamW(
        rate,
        beta_2=0.98,
        weight_decay=weight_decay,
        global_clipnorm=1.0,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer

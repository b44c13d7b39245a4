"""Train the model on the prepared ids; imports Keras."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cpm_lm.config import GPTConfig
from cpm_lm.gpt.gpt import GPT
from recipes.demo.batches import stages
from recipes.demo.log import Log
from recipes.demo.muon import Muon
from recipes.demo.settings import Settings

__all__ = ["train"]


def train(work: Path, settings: Settings) -> dict[str, Any]:
    """Train from scratch for one epoch; return figures for the results."""
    keras.utils.set_random_seed(settings.seed)
    config = GPTConfig.from_json({"vocab_size": settings.pieces, **settings.shape})
    model = GPT(config, dtype=settings.compute_dtype)
    ids = np.load(work / "ids.npy")
    model.compile(
        _optimizer(sum(len(cut) // batch for cut, batch in stages(ids, settings)), settings),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # on a CPU, TensorFlow's own bfloat16 products are faster than XLA's
    )
    log = Log(work, settings)
    for cut, batch in stages(ids, settings):
        log.tokens_in_step = batch * (cut.shape[1] - 1)
        model.fit(
            cut[:, :-1],
            cut[:, 1:],
            batch_size=batch,
            shuffle=False,
            verbose=0,
            callbacks=[log],
        )
    log.write()
    return {"steps": log.step, "seconds": round(time.time() - log.started), "tokens": log.tokens}


def _optimizer(steps: int, settings: Settings) -> Any:
    """Return Muon with linear warm-up, then linear decay to zero."""
    warmup = settings.warmup_steps
    rate = keras.optimizers.schedules.PolynomialDecay(settings.rate, steps - warmup, 0.0)
    optimizer = Muon(
        _WarmUp(rate, warmup),
        adam_beta_2=0.98,
        weight_decay=settings.weight_decay,
        adam_weight_decay=settings.weight_decay,
        global_clipnorm=1.0,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


class _WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up from 0, then another schedule from its beginning."""

    def __init__(self, after: Any, steps: int) -> None:
        self.after, self.steps = after, steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        rising = keras.ops.minimum(1.0, (step + 1) / self.steps)
        return rising * self.after(keras.ops.maximum(step - self.steps, 0.0))

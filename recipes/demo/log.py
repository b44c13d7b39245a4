"""The log and the checkpoints of a training run; imports Keras."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from jaxtyping import Int32

from recipes.demo.batches import held_out_windows
from recipes.demo.build import save
from recipes.demo.settings import Settings

__all__ = ["Log"]

CHECKED = ("poem", "novel")
"""The kinds of documents whose held-out loss is logged."""
CHECKED_LENGTH, CHECKED_BATCH = 256, 8
"""Tokens of a window, and windows of a batch, of the held-out loss."""


class Log(keras.callbacks.Callback):
    """Writes a line of `log.jsonl` and the weights, `trained/`, every `log_tokens` tokens.

    Losses are in nats a token. `tokens_in_step` must be set before a stage.
    """

    def __init__(self, work: Path, settings: Settings) -> None:
        super().__init__()
        self.started, self.step, self.tokens, self.tokens_in_step = time.time(), 0, 0, 0
        self._losses: list[float] = []
        self._sum = 0.0
        self._every, self._next = settings.log_tokens, settings.log_tokens
        self._trained = work / "trained"
        self._path = work / "log.jsonl"
        self._path.write_text("", "utf-8")
        self._held_out = {
            kind: held_out_windows(work, kind, CHECKED_LENGTH, settings.logged_windows)
            for kind in CHECKED
        }

    def on_epoch_begin(self, *_: Any) -> None:
        """Start a stage."""
        self._sum = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Count a step; Keras passes the mean loss of the stage so far, not that of this batch."""
        total = float(logs["loss"]) * (batch + 1)
        self._losses.append(total - self._sum)
        self._sum = total
        self.step += 1
        self.tokens += self.tokens_in_step
        if self.tokens >= self._next:
            self._next += self._every
            self.write()

    def write(self) -> None:
        """Write a line and the weights."""
        line = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": round(time.time() - self.started),
            "rate": round(float(self.model.optimizer.learning_rate), 6),
            "loss": round(float(np.mean(self._losses)), 4) if self._losses else None,
            **{f"loss_{kind}": self._loss(cut) for kind, cut in self._held_out.items()},
        }
        self._losses = []
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        save(self.model, self._trained)

    def _loss(self, cut: Int32[np.ndarray, "w l"]) -> float:
        losses = []
        for x in np.split(cut, len(cut) // CHECKED_BATCH):
            logprobs = keras.ops.log_softmax(self.model.predict_on_batch(x[:, :-1]))
            picked = np.take_along_axis(np.asarray(logprobs), x[:, 1:, None], 2)
            losses.append(-float(picked.mean()))
        return round(float(np.mean(losses)), 4)

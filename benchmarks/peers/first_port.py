"""The first TensorFlow port's structure, from `keras_implementations.py`, on the same store."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks.keras_implementations import Port
from benchmarks.measuring import About, weights_read
from benchmarks.peers.files import Files
from benchmarks.peers.interface import Stepping

__all__ = ["open_implementation"]

BITS = {"f32": 32, "f16": 16}


class FirstPort(Stepping):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        dtype = {"f32": "float32", "f16": "float16"}[form]
        self.port = Port(files.config, lambda name, _: files.f32.float32(name), dtype)
        self.vocab_size = files.config.vocab_size
        self.about = About(
            version=f"first port's structure on tensorflow {tf.__version__}, {form}",
            build=f"wheel, oneDNN, {threads} threads",
            bytes_per_token=weights_read(files.config) * BITS[form] // 8,
            bits=BITS[form],
        )

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        logits, new = self.port.run(tf.constant(ids[None]), self.port.empty(1))
        self.past = tf.repeat(new, rows, axis=1) if rows > 1 else new
        return logits.numpy()[0, -1].astype(np.float32)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        logits, new = self.port.run(tf.constant(tokens[:, None]), self.past)
        self.past = tf.concat([self.past, new], axis=-2)
        return logits.numpy()[:, 0].astype(np.float32)


def open_implementation(files: Files, form: str, threads: int) -> FirstPort:
    return FirstPort(files, form, threads)

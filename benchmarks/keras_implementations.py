"""The implementations of `keras_decode.py`, one in a process: JSON lines in, JSON lines out."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from cpm_lm.config import GPTConfig
from cpm_lm.engines.forest import chain
from cpm_lm.gpt.backend import use_backend

PROMPT = (np.arange(64) * 463 % 30000).astype(np.int32)
NEXT = 17


def config(layers: int) -> GPTConfig:
    return GPTConfig(vocab_size=30000, n_positions=1024, n_embd=2560, n_layer=layers, n_head=32)


class Weights:
    """Random weights by name, the same in every process, computed at each call."""

    def __init__(self) -> None:
        self.block = 0.02 * np.random.default_rng(0).standard_normal(2**22 - 3, np.float32)

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name.endswith("bias"):
            return np.zeros(shape, np.float32)
        if "ln_" in name:
            return np.ones(shape, np.float32)
        seed = sum(ord(c) * (i + 1) for i, c in enumerate(name))
        return np.resize(np.roll(self.block, seed * 7919), shape)


class Ours:
    """Our engine: sessions of several capacities, each prefilled once with the prompt."""

    def __init__(self, backend: str, layers: int) -> None:
        use_backend(backend)
        from cpm_lm.engines.keras.engine import KerasEngine
        from cpm_lm.gpt.gpt import GPT
        from cpm_lm.gpt.load import variables

        model, weights = GPT(config(layers), initial="zeros"), Weights()
        for name, variable in variables(model).items():
            variable.assign(weights(name, tuple(variable.shape)))
        self.engine = KerasEngine(model)
        self.sessions: dict[int, Any] = {}
        self.versions = f"cpm-lm on {backend} {version(backend)}, keras {version('keras')}"

    def session(self, capacity: int) -> tuple[Any, Any]:
        if capacity not in self.sessions:
            session = self.engine.session(capacity)
            nodes, _ = session.extend(PROMPT, chain(len(PROMPT)))
            self.sessions[capacity] = (session, nodes[-1:])
        return self.sessions[capacity]

    def step(self, rows: int, capacity: int) -> np.ndarray:
        session, last = self.session(capacity)
        nodes, logits = session.extend([NEXT] * rows, np.repeat(last, rows), list(range(rows)))
        session.release(nodes)
        return logits

    def sample(self, texts: int, tokens: int) -> None:
        session = self.engine.session(1024)
        nodes, logits = session.extend(PROMPT, chain(len(PROMPT)))
        nodes = np.repeat(nodes[-1:], texts)
        for _ in range(tokens - 1):
            ids = np.resize(logits.argmax(-1), texts).astype(
                np.int32
            )  # equal tokens, but separate nodes
            nodes, logits = session.extend(ids, nodes, list(range(texts)))

    def compiled(self) -> list[Any]:
        seconds = self.engine.compilations.seconds
        return [len(seconds), round(sum(seconds.values()), 1)]


class Port:
    """The structure of the first TensorFlow port, CPM-LM-TF2, rewritten.

    Three products for queries, keys and values; the KV cache of all layers is one tensor
    that each step appends to; every row has its own cache; the output product transposes the
    embedding; no XLA. GELU is the tanh form here, so that the outputs can be compared.

    Args:
        c: the model's shape.
        weights: a tensor by its name and shape.
        dtype: float32, or float16 throughout.
    """

    def __init__(
        self,
        c: GPTConfig,
        weights: Callable[[str, tuple[int, ...]], np.ndarray],
        dtype: str = "float32",
    ) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import tensorflow as tf

        self.tf, self.config, self.dtype = tf, c, tf.as_dtype(dtype)
        self.versions = f"first port's structure on tensorflow {version('tensorflow')}"
        D = c.n_embd

        def variable(name: str, *shape: int) -> Any:
            return tf.Variable(weights(name, shape).astype(dtype))

        def norm(name: str) -> tuple[Any, Any]:
            return variable(f"{name}.weight", D), variable(f"{name}.bias", D)

        self.wte = variable("wte.weight", c.vocab_size, D)
        self.wpe = variable("wpe.weight", c.n_positions, D)
        self.blocks = []
        for i in range(c.n_layer):
            joined = weights(f"h.{i}.attn.c_attn.weight", (D, 3, c.n_head, c.head_size))
            biases = weights(f"h.{i}.attn.c_attn.bias", (3 * D,)).astype(dtype)
            parts = np.split(joined.reshape(D, 3 * D).astype(dtype), 3, axis=1)
            self.blocks.append(
                {
                    "ln_1": norm(f"h.{i}.ln_1"),
                    "qkv": [tf.Variable(part) for part in parts],
                    "qkv_bias": [tf.Variable(part) for part in np.split(biases, 3)],
                    "out": variable(f"h.{i}.attn.c_proj.weight", D, D),
                    "out_bias": variable(f"h.{i}.attn.c_proj.bias", D),
                    "ln_2": norm(f"h.{i}.ln_2"),
                    "up": variable(f"h.{i}.mlp.c_fc.weight", D, 4 * D),
                    "up_bias": variable(f"h.{i}.mlp.c_fc.bias", 4 * D),
                    "down": variable(f"h.{i}.mlp.c_proj.weight", 4 * D, D),
                    "down_bias": variable(f"h.{i}.mlp.c_proj.bias", D),
                }
            )
        self.ln_f = norm("ln_f")
        past = tf.TensorSpec([c.n_layer, None, 2, c.n_head, None, c.head_size], self.dtype)
        ids = tf.TensorSpec([None, None], tf.int32)
        self.run = tf.function(self.network, input_signature=[ids, past])
        self.kept: dict[int, Any] = {}

    def empty(self, rows: int) -> Any:
        """Return an empty KV cache for `rows` texts."""
        c = self.config
        return self.tf.zeros([c.n_layer, rows, 2, c.n_head, 0, c.head_size], self.dtype)

    def norm(self, x: Any, gain_shift: tuple[Any, Any]) -> Any:
        tf, (gain, shift) = self.tf, gain_shift
        mean, variance = tf.nn.moments(x, -1, keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, shift, gain, 1e-5)

    def attention(self, x: Any, block: Any, past: Any, mask: Any) -> tuple[Any, Any]:
        tf, N, H = self.tf, self.config.n_head, self.config.head_size
        T = tf.shape(x)[1]
        q, k, v = (
            tf.transpose(tf.reshape(tf.matmul(x, w) + b, [-1, T, N, H]), [0, 2, 1, 3])
            for w, b in zip(block["qkv"], block["qkv_bias"], strict=True)
        )
        new = tf.stack([k, v], axis=1)
        old_k, old_v = tf.unstack(past, axis=1)
        k, v = tf.concat([old_k, k], axis=-2), tf.concat([old_v, v], axis=-2)
        scores = tf.matmul(q, k, transpose_b=True) * tf.constant(H**-0.5, self.dtype)
        # The first port subtracts 1e10, which is too large for float16.
        hidden = tf.constant(max(-1e10, self.dtype.min), self.dtype) * (1 - mask)
        attended = tf.matmul(tf.nn.softmax(scores * mask + hidden), v)
        attended = tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), [-1, T, N * H])
        return tf.matmul(attended, block["out"]) + block["out_bias"], new

    def network(self, tokens: Any, past: Any) -> tuple[Any, Any]:
        tf = self.tf
        before, T = tf.shape(past)[-2], tf.shape(tokens)[1]
        mask = tf.linalg.band_part(tf.ones([T, before + T], self.dtype), -1, before)[None, None]
        x = tf.gather(self.wte, tokens) + self.wpe[before : before + T]
        kept = []
        for i, block in enumerate(self.blocks):
            attended, new = self.attention(self.norm(x, block["ln_1"]), block, past[i], mask)
            x = x + attended
            normed = self.norm(x, block["ln_2"])
            inner = tf.nn.gelu(tf.matmul(normed, block["up"]) + block["up_bias"], approximate=True)
            x = x + tf.matmul(inner, block["down"]) + block["down_bias"]
            kept.append(new)
        return tf.matmul(self.norm(x, self.ln_f), self.wte, transpose_b=True), tf.stack(kept)

    def step(self, rows: int, capacity: int) -> np.ndarray:
        tf = self.tf
        if rows not in self.kept:
            tiled = tf.constant(np.tile(PROMPT, (rows, 1)))
            self.kept[rows] = self.run(tiled, self.empty(rows))[1]
        assert capacity >= len(PROMPT) + 1  # its cache has no spare cells
        past = self.kept[rows]
        logits, new = self.run(tf.fill([rows, 1], NEXT), past)
        tf.concat([past, new], axis=-2)  # the input of the next step
        return logits.numpy()[:, 0]

    def sample(self, texts: int, tokens: int) -> None:
        tf = self.tf
        past = self.empty(texts)
        ids = tf.constant(np.tile(PROMPT, (texts, 1)))
        for _ in range(tokens):
            logits, new = self.run(ids, past)
            past = tf.concat([past, new], axis=-2)
            ids = tf.argmax(logits[:, -1:], -1, tf.int32)


class KerasHub:
    """KerasHub's GPT2CausalLM on TensorFlow: a step of its `generate`, compiled as it does."""

    def __init__(self, layers: int) -> None:
        keras = use_backend("tensorflow")
        import tensorflow as tf
        from keras_hub.models import GPT2Backbone, GPT2CausalLM

        c, weights = config(layers), Weights()
        backbone = GPT2Backbone(
            vocabulary_size=c.vocab_size, num_layers=layers, num_heads=32, hidden_dim=2560,
            intermediate_dim=4 * 2560, dropout=0.0, max_sequence_length=c.n_positions,
        )  # fmt: skip
        for variable in backbone.weights:
            variable.assign(weights(hub_name(variable.path), tuple(variable.shape)))
        for i in range(layers):
            joined = weights(f"h.{i}.attn.c_attn.weight", (2560, 3, 32, 80))
            attention = backbone.get_layer(f"transformer_layer_{i}")._self_attention_layer
            parts = (attention._query_dense, attention._key_dense, attention._value_dense)
            for j, dense in enumerate(parts):
                dense.kernel.assign(joined[:, j])
        self.tf = tf
        self.kept: dict[int, Any] = {}
        self.model = GPT2CausalLM(backbone)
        self.call = tf.function(self.model.call_with_cache, jit_compile=True)
        self.versions = f"keras-hub {version('keras-hub')}, keras {keras.__version__}"

    def step(self, rows: int, capacity: int) -> np.ndarray:
        tf = self.tf
        capacity = min(capacity, 128)  # a step reads and writes all of it, so it gets a small one
        if rows not in self.kept:
            shape = [rows, self.model.backbone.num_layers, 2, capacity, 32, 80]
            prompt = tf.constant(np.tile(PROMPT, (rows, 1)))
            self.kept[rows] = self.call(prompt, tf.zeros(shape), tf.constant(0))[2]
        token, at = tf.fill([rows, 1], NEXT), tf.constant(len(PROMPT))
        logits, _, self.kept[rows] = self.call(token, self.kept[rows], at)
        return logits.numpy()[:, 0]

    def sample(self, texts: int, tokens: int) -> None:
        tf = self.tf
        shape = [texts, self.model.backbone.num_layers, 2, 128, 32, 80]
        ids, past, at = tf.constant(np.tile(PROMPT, (texts, 1))), tf.zeros(shape), 0
        for _ in range(tokens):
            logits, _, past = self.call(ids, past, tf.constant(at))
            at += ids.shape[1]
            ids = tf.argmax(logits[:, -1:], -1, tf.int32)


def hub_name(path: str) -> str:
    """Return our name of a KerasHub variable, as far as `Weights` needs it."""
    if path.endswith(("bias", "beta")):
        return "bias"
    if path.endswith("gamma"):
        return "ln_"
    if "embedding" in path:
        return "wpe.weight" if "position" in path else "wte.weight"
    layer = path.split("transformer_layer_")[1].split("/")[0]
    parts = {"attention_output": "attn.c_proj", "intermediate": "mlp.c_fc", "output": "mlp.c_proj"}
    found = next((ours for theirs, ours in parts.items() if theirs in path), "unused")
    return f"h.{layer}.{found}.weight"


def timed(implementation: Any, rows: int, steps: int, capacity: int) -> float:
    taken = []
    for _ in range(steps):
        start = time.perf_counter()
        implementation.step(rows, capacity)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    name, layers = sys.argv[1], int(sys.argv[2])
    makers = {
        "tensorflow": lambda: Ours("tensorflow", layers),
        "jax": lambda: Ours("jax", layers),
        "port": lambda: Port(config(layers), Weights()),
        "kerashub": lambda: KerasHub(layers),
    }
    implementation: Any = makers[name]()
    shape = config(layers)
    read = 4 * (shape.parameter_count - shape.n_positions * shape.n_embd) / 1e9
    print(json.dumps({"versions": implementation.versions, "gigabytes": read}), flush=True)
    for line in sys.stdin:
        call = json.loads(line)
        match call.pop("do"):
            case "logits":
                result: Any = implementation.step(1, 1024)[0].tolist()
                implementation.step(32, 1024)  # compiled before anything is timed
                implementation.sample(32, 2)
            case "compiled":
                result = implementation.compiled()
            case "sample":
                start = time.perf_counter()
                implementation.sample(**call)
                result = time.perf_counter() - start
            case _:
                result = timed(implementation, **call)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

"""ONNX Runtime with MatMulNBits: weights of 8 or 4 bits in blocks of 32 inputs, symmetric.

The graph is written here node by node, as its tools write GPT-2; the KV cache is appended to.
Accuracy level 4, the fastest, multiplies bytes. The output matrix has 8 bits.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from benchmarks.measuring import About
from benchmarks.peers.files import Files
from benchmarks.peers.interface import Stepping

__all__ = ["open_implementation"]

BLOCK = 32
BYTES_OF_8 = 4


class Graph:
    """Nodes and initializers of the network, in the order of the formula."""

    def __init__(self, files: Files, bits: int) -> None:
        self.files, self.c, self.bits = files, files.config, bits
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def tensor(self, name: str) -> str:
        return self.constant(name, self.files.f32.float32(name))

    def node(self, kind: str, inputs: list[str], outputs: int = 1, **options: object) -> list[str]:
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **options))
        return names

    def norm(self, x: str, name: str) -> str:
        inputs = [x, self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")]
        return self.node("LayerNormalization", inputs, epsilon=self.c.layer_norm_epsilon)[0]

    def product(self, x: str, name: str, weight: np.ndarray, bits: int) -> str:
        """Multiply by a matrix, [out, in]."""
        outputs, inputs = weight.shape
        packed, scales = quantized(weight, bits)
        names = [self.constant(f"{name}.q", packed), self.constant(f"{name}.scales", scales)]
        return self.node(
            "MatMulNBits",
            [x, *names],
            domain="com.microsoft",
            K=inputs,
            N=outputs,
            bits=bits,
            block_size=BLOCK,
            accuracy_level=BYTES_OF_8,
        )[0]

    def linear(self, x: str, name: str) -> str:
        weight = self.files.f32.float32(f"{name}.weight").T
        y = self.product(x, name, weight, self.bits)
        return self.node("Add", [y, self.tensor(f"{name}.bias")])[0]

    def attention(self, x: str, layer: int) -> str:
        """Attend over the cache and the new tokens; the new cache is an output of the graph."""
        name = f"h.{layer}.attn"
        q, k, v = self.node("Split", [self.linear(x, f"{name}.c_attn")], 3, axis=-1, num_outputs=3)
        self.nodes.append(
            helper.make_node(
                "Attention",
                [q, k, v, "mask", f"keys_{layer}", f"values_{layer}"],
                [f"mixed_{layer}", f"keys_{layer}_new", f"values_{layer}_new"],
                q_num_heads=self.c.n_head,
                kv_num_heads=self.c.n_head,
            )
        )
        return self.linear(f"mixed_{layer}", f"{name}.c_proj")

    def network(self) -> str:
        wte, wpe = self.tensor("wte.weight"), self.tensor("wpe.weight")
        words = self.node("Gather", [wte, "tokens"])
        x = self.node("Add", [*words, *self.node("Gather", [wpe, "positions"])])[0]
        for i in range(self.c.n_layer):
            mixed = self.attention(self.norm(x, f"h.{i}.ln_1"), i)
            x = self.node("Add", [x, mixed])[0]
            inner = self.linear(self.norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
            inner = self.node("Gelu", [inner], approximate="tanh")[0]
            x = self.node("Add", [x, self.linear(inner, f"h.{i}.mlp.c_proj")])[0]
        last = self.constant("last", np.array([-1], np.int64))
        x = self.norm(self.node("Gather", [x, last], axis=1)[0], "ln_f")
        return self.product(x, "output", self.files.f32.float32("wte.weight"), 8)

    def save(self, path: Path) -> None:
        c = self.c
        logits = self.network()
        past = ["B", c.n_head, "S", c.head_size]
        number = helper.make_tensor_value_info
        inputs = [
            number("tokens", TensorProto.INT64, ["B", "T"]),
            number("positions", TensorProto.INT64, ["T"]),
            number("mask", TensorProto.BOOL, ["T", "S+T"]),
        ]
        names = [f"{kind}_{i}" for i in range(c.n_layer) for kind in ("keys", "values")]
        inputs += [number(name, TensorProto.FLOAT, past) for name in names]
        outputs = [number(logits, TensorProto.FLOAT, ["B", 1, c.vocab_size])]
        grown = ["B", c.n_head, "S+T", c.head_size]
        outputs += [number(f"{name}_new", TensorProto.FLOAT, grown) for name in names]
        graph = helper.make_graph(self.nodes, "gpt", inputs, outputs, self.constants)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=11)
        path.mkdir(exist_ok=True)
        onnx.save(model, path / "model.onnx", save_as_external_data=True, location="weights")


def quantized(weight: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Round to nearest by blocks of inputs; zero is the middle of the range.

    Returns:
        packed: uint8[out, blocks, bytes], low half first where a byte holds two.
        scales: float32[out, blocks].
    """
    blocks = np.ascontiguousarray(weight, np.float32).reshape(len(weight), -1, BLOCK)
    half = 1 << (bits - 1)
    scales = np.maximum(np.abs(blocks).max(-1) / (half - 1), 1e-12)
    values = np.clip(np.rint(blocks / scales[..., None]) + half, 0, 2 * half - 1).astype(np.uint8)
    if bits == 4:
        values = values[..., ::2] | values[..., 1::2] << 4
    return values, scales.astype(np.float32)


class OnnxRuntime(Stepping):
    def __init__(self, files: Files, form: str, threads: int) -> None:
        bits = int(form)
        path = files.make(f"onnx-{form}", lambda path: Graph(files, bits).save(path))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.session = onnxruntime.InferenceSession(
            path / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        c = self.config = files.config
        self.past: list[np.ndarray] = []
        self.vocab_size = c.vocab_size
        unread = 4 * (c.n_positions + c.vocab_size) * c.n_embd  # the embeddings, in float32
        self.about = About(
            version=f"onnxruntime {onnxruntime.__version__}, MatMulNBits of {bits} bits",
            build=f"wheel, accuracy level {BYTES_OF_8}, {threads} threads",
            bytes_per_token=(path / "weights").stat().st_size - unread,
            bits=bits,
        )

    def forward(self, ids: np.ndarray) -> np.ndarray:
        """Add ids, [B, T], to the cache; return the logits after the last of each."""
        T, S = ids.shape[1], self.past[0].shape[2]
        inputs = {
            "tokens": ids.astype(np.int64),
            "positions": np.arange(S, S + T),
            "mask": np.tri(T, S + T, S, dtype=bool),
            **dict(zip(self.names, self.past, strict=True)),
        }
        logits, *self.past = self.session.run(None, inputs)
        return logits[:, 0]

    def begin(self, ids: np.ndarray, rows: int) -> np.ndarray:
        c = self.config
        self.names = [f"{kind}_{i}" for i in range(c.n_layer) for kind in ("keys", "values")]
        self.past = [np.zeros((1, c.n_head, 0, c.head_size), np.float32) for _ in self.names]
        logits = self.forward(ids[None])[0]
        if rows > 1:
            self.past = [np.repeat(past, rows, 0) for past in self.past]
        return logits

    def step(self, tokens: np.ndarray) -> np.ndarray:
        return self.forward(tokens[:, None])


def open_implementation(files: Files, form: str, threads: int) -> OnnxRuntime:
    return OnnxRuntime(files, form, threads)

"""The random model as two LiteRT graphs: prefill, and a decode step of many texts.

The graphs are written operator by operator, as its converters write GPT-2: matrices in int8 with a
scale for each output; activations are quantized to 8 bits at run time (dynamic range). The weights
follow the flatbuffer, whose limit is 2 GB.
Knows the file; runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

from cpm_lm.checkpoints.layouts.store import Store

__all__ = ["CELLS", "write"]

CELLS = 24
"""Tokens in the KV cache of a step; the graph has a fixed size."""
ALIGNED = 64
VERSIONS = {"FULLY_CONNECTED": 12}
"""Of operators; 1 for all others."""
TYPES = {"float32": "FLOAT32", "int8": "INT8", "int32": "INT32"}


class File:
    """Tensors, operators and weights of one graph."""

    def __init__(self) -> None:
        self.graph, self.codes = schema.SubGraphT(), list[str]()
        self.graph.tensors, self.graph.operators = [], []
        self.blobs: list[np.ndarray] = []

    def tensor(self, name: str, shape: Sequence[int], kind: str = "float32") -> int:
        """Add a tensor and return its number; -1 is a length that is set later."""
        tensor = schema.TensorT()
        tensor.name, tensor.type = name, getattr(schema.TensorType, TYPES[kind])
        tensor.shape = [1 if n < 0 else n for n in shape]
        tensor.shapeSignature = list(shape) if -1 in shape else None
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values: np.ndarray, scales: np.ndarray | None = None) -> int:
        """Add a tensor with its numbers; scales are for its first axis."""
        number = self.tensor(f"constant_{len(self.blobs)}", values.shape, str(values.dtype))
        self.blobs.append(np.ascontiguousarray(values))
        self.graph.tensors[number].buffer = len(self.blobs)  # buffer 0 is empty
        if scales is not None:
            rounding = self.graph.tensors[number].quantization = schema.QuantizationParametersT()
            rounding.scale, rounding.zeroPoint = scales, np.zeros(len(scales), np.int64)
        return number

    def node(
        self,
        kind: str,
        inputs: list[int],
        *shapes: Sequence[int],
        of: str | None = None,
        **options: object,
    ) -> list[int]:
        """Add an operator and return the numbers of its outputs.

        Args:
            kind: its name in the schema.
            inputs: numbers of tensors.
            shapes: of its outputs.
            of: the schema's name of its options, if it has any.
            options: their values.
        """
        operator = schema.OperatorT()
        if kind not in self.codes:
            self.codes.append(kind)
        operator.opcodeIndex, operator.inputs = self.codes.index(kind), inputs
        operator.outputs = [self.tensor(f"{kind}_{len(self.graph.tensors)}", s) for s in shapes]
        if of:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, of)
            operator.builtinOptions = getattr(schema, f"{of}T")()
            for key, value in options.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return operator.outputs

    def description(self, start: int) -> bytes:
        """Return the flatbuffer; the weights begin at byte `start`."""
        model = schema.ModelT()
        model.version, model.subgraphs, model.operatorCodes = 3, [self.graph], []
        for kind in self.codes:
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = VERSIONS.get(kind, 1)
            model.operatorCodes.append(code)
        model.buffers = [schema.BufferT()]
        for blob in self.blobs:
            buffer = schema.BufferT()
            buffer.offset, buffer.size = start, blob.nbytes
            start += -(-blob.nbytes // ALIGNED) * ALIGNED
            model.buffers.append(buffer)
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path: Path) -> None:
        start = -(-len(self.description(ALIGNED)) // ALIGNED) * ALIGNED
        with path.open("wb") as file:
            file.write(self.description(start).ljust(start, b"\0"))
            for blob in self.blobs:
                file.write(blob.tobytes())
                file.write(bytes(-blob.nbytes % ALIGNED))


class Network:
    """The network's formula.

    Args:
        store: float weights.
        step: one token of R texts with a KV cache; otherwise T tokens of one text.
    """

    def __init__(self, store: Store, step: bool) -> None:
        self.file, self.store, self.c, self.step = File(), store, store.config, step

    def save(self, path: Path) -> None:
        c, graph = self.c, self.file.graph
        x = self.file.tensor("embedded", [-1, c.n_embd])
        seen = [1, 1, 1, CELLS + 1] if self.step else [1, 1, -1, -1]
        self.mask = self.file.tensor("mask", seen)
        graph.inputs, new = [x, self.mask], []
        for i in range(c.n_layer):
            mixed, kept = self.attention(self.norm(x, f"h.{i}.ln_1"), i)
            new += kept
            x = self.add(x, mixed)
            inner = self.gelu(self.linear(self.norm(x, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc"))
            x = self.add(x, self.linear(inner, f"h.{i}.mlp.c_proj"))
        if not self.step:
            x = self.last(x)
        x = self.norm(x, "ln_f")
        graph.outputs = [self.product(x, self.store.float32("wte.weight")), *new]
        self.file.save(path)

    def product(self, x: int, weight: np.ndarray, bias: int = -1) -> int:
        """Multiply by a matrix, [out, in]."""
        scales = np.maximum(np.abs(weight).max(1) / 127, 1e-12).astype(np.float32)
        packed = np.rint(weight / scales[:, None]).astype(np.int8)
        inputs = [x, self.file.constant(packed, scales), bias]
        [product] = self.file.node(
            "FULLY_CONNECTED",
            inputs,
            [-1, len(weight)],
            of="FullyConnectedOptions",
            asymmetricQuantizeInputs=True,
        )
        return product

    def linear(self, x: int, name: str) -> int:
        bias = self.file.constant(self.store.float32(f"{name}.bias"))
        return self.product(x, self.store.float32(f"{name}.weight").T, bias)

    def pair(self, kind: str, x: int, y: int, shape: Sequence[int]) -> int:
        """Add an elementwise operator of two inputs."""
        of = {"ADD": "AddOptions", "MUL": "MulOptions", "SUB": "SubOptions"}
        of["SQUARED_DIFFERENCE"] = "SquaredDifferenceOptions"
        return self.file.node(kind, [x, y], shape, of=of[kind])[0]

    def add(self, x: int, y: int) -> int:
        return self.pair("ADD", x, y, [-1, self.c.n_embd])

    def norm(self, x: int, name: str) -> int:
        file, wide, thin = self.file, [-1, self.c.n_embd], [-1, 1]
        axis = file.constant(np.array([1], np.int32))
        mean = file.node("MEAN", [x, axis], thin, of="ReducerOptions", keepDims=True)[0]
        square = self.pair("SQUARED_DIFFERENCE", x, mean, wide)
        spread = file.node("MEAN", [square, axis], thin, of="ReducerOptions", keepDims=True)[0]
        epsilon = file.constant(np.array([self.c.layer_norm_epsilon], np.float32))
        scale = file.node("RSQRT", [self.pair("ADD", spread, epsilon, thin)], thin)[0]
        x = self.pair("MUL", self.pair("SUB", x, mean, wide), scale, wide)
        x = self.pair("MUL", x, file.constant(self.store.float32(f"{name}.weight")), wide)
        return self.pair("ADD", x, file.constant(self.store.float32(f"{name}.bias")), wide)

    def gelu(self, x: int) -> int:
        wide = [-1, 4 * self.c.n_embd]
        return self.file.node("GELU", [x], wide, of="GeluOptions", approximate=True)[0]

    def last(self, x: int) -> int:
        """Return the last row alone."""
        bounds = [np.array(bound, np.int32) for bound in ([-1, 0], [0, self.c.n_embd], [1, 1])]
        inputs = [x, *map(self.file.constant, bounds)]
        [row] = self.file.node(
            "STRIDED_SLICE", inputs, [1, self.c.n_embd], of="StridedSliceOptions", endMask=1
        )
        return row

    def reshape(self, x: int, shape: list[int]) -> int:
        wanted = self.file.constant(np.array(shape, np.int32))
        return self.file.node("RESHAPE", [x, wanted], shape, of="ReshapeOptions", newShape=shape)[0]

    def transposed(self, x: int, shape: list[int]) -> int:
        """Exchange the axes of tokens and heads."""
        order = self.file.constant(np.array([0, 2, 1, 3], np.int32))
        return self.file.node("TRANSPOSE", [x, order], shape, of="TransposeOptions")[0]

    def heads(self, x: int) -> int:
        """Return [R, N, 1, H] of a step, [1, N, T, H] of a prompt."""
        N, H = self.c.n_head, self.c.head_size
        if self.step:
            return self.reshape(x, [-1, N, 1, H])
        return self.transposed(self.reshape(x, [1, -1, N, H]), [1, N, -1, H])

    def attention(self, x: int, layer: int) -> tuple[int, list[int]]:
        c, file, name = self.c, self.file, f"h.{layer}.attn"
        R, T, S = (-1, 1, CELLS + 1) if self.step else (1, -1, -1)
        inputs = [file.constant(np.array(1, np.int32)), self.linear(x, f"{name}.c_attn")]
        parts = file.node("SPLIT", inputs, *[[-1, c.n_embd]] * 3, of="SplitOptions", numSplits=3)
        q, *new = map(self.heads, parts)
        scale = file.constant(np.array([c.head_size**-0.5], np.float32))
        q = self.pair("MUL", q, scale, [R, c.n_head, T, c.head_size])
        keys, values = (self.with_cache(x, f"{k}_{layer}") for k, x in zip("kv", new, strict=True))
        shape, of = [R, c.n_head, T, S], "BatchMatMulOptions"
        scores = file.node("BATCH_MATMUL", [q, keys], shape, of=of, adjY=True)[0]
        scores = self.pair("ADD", scores, self.mask, shape)
        weights = file.node("SOFTMAX", [scores], shape, of="SoftmaxOptions", beta=1.0)[0]
        shape = [R, c.n_head, T, c.head_size]
        mixed = file.node("BATCH_MATMUL", [weights, values], shape, of=of)[0]
        if not self.step:
            mixed = self.transposed(mixed, [1, -1, c.n_head, c.head_size])
        return self.linear(self.reshape(mixed, [-1, c.n_embd]), f"{name}.c_proj"), new

    def with_cache(self, x: int, name: str) -> int:
        """Append new keys or values to those of the cache, if there is one."""
        if not self.step:
            return x
        shape = [-1, self.c.n_head, CELLS, self.c.head_size]
        past = self.file.tensor(name, shape)
        self.file.graph.inputs.append(past)
        shape[2] += 1
        return self.file.node("CONCATENATION", [past, x], shape, of="ConcatenationOptions", axis=2)[
            0
        ]


def write(path: Path, store: Store, step: bool) -> None:
    """Write one of the two graphs."""
    Network(store, step).save(path)

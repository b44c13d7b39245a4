"""The CPU kernels, compiled from `native/`: arrays in, arrays out.

Knows numpy arrays, threads and instruction sets; does not know models, layers or tokens' meaning.
Every array is C-contiguous and of exactly the type named. Whatever does not fit raises ValueError
before anything is computed. The GIL is released while a kernel runs. A row's results do not
change by one bit with the other rows of the call, its place among them, or the number of threads.

K inputs, O outputs and R rows of a linear map; D width, V vocabulary, T new tokens, N heads, H head
size, S slots.
"""

from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

Element = Literal["f32", "f16", "bf16"]
"""How numbers lie in memory: float32, float16, or bfloat16 as the bits in uint16."""

Quantized = Literal["q8", "q4"]
"""Integers with a scale for each group: of 64 in 8 bits, of 32 in 4 bits."""

def instruction_sets() -> list[str]:
    """Return what this processor can run, best first, of "amx", "avx512", "avx2", "portable"."""

def instruction_set() -> str:
    """Return what a pool uses unless told: the best there is, or what CPM_ISA names."""

@final
class Pool:
    """Threads that compute, and the instruction set they use.

    Calls from several Python threads take turns. After a fork the child starts threads of its own.
    The calling thread is one of them, so `Pool(1)` starts none.

    Args:
        threads: 1 to 1024.
        instruction_set: one of `instruction_sets()`; None for `instruction_set()`.
    """

    def __init__(self, threads: int, instruction_set: str | None = None) -> None: ...
    @property
    def threads(self) -> int: ...
    @property
    def instruction_set(self) -> str: ...

@final
class Matrix:
    """A view of a weight matrix, and its bias if it has one; nothing is copied.

    Args:
        values: [rows, columns]: float32 (f32), float16 (f16), uint16 (bf16). May be a mapped file.
        element: the type of `values`.
        transposed: False for [K, O], as Hugging Face's Conv1D has it; True for [O, K], as an
            embedding that serves as output matrix.
        bias: float32[O], or None.
    """

    def __init__(
        self,
        values: NDArray[np.float32] | NDArray[np.float16] | NDArray[np.uint16],
        element: Element,
        *,
        transposed: bool = False,
        bias: NDArray[np.float32] | None = None,
    ) -> None: ...
    @staticmethod
    def quantized(
        values: NDArray[np.int8] | NDArray[np.uint8],
        scales: NDArray[np.float16],
        element: Quantized,
        inputs: int,
        *,
        bias: NDArray[np.float32] | None = None,
    ) -> Matrix:
        """Return a view of a matrix [O, K] in 8 or 4 bits, its rows filled up to whole groups.

        Rows of x are rounded to 16 bits each by a scale of their own before they are multiplied;
        one that holds NaN or infinity gives NaN.

        Args:
            values: q8: int8[O, 64 G], weight = value * scale. q4: uint8[O, 16 G]; byte i of a
                group's 16 holds its element i in the low half and i + 16 in the high half, weight =
                (half - 8) * scale. What fills a row up must stand for 0.
            scales: float16[O, G], finite.
            element: q8 or q4.
            inputs: K, of which G = K / 64 or K / 32, rounded up.
            bias: float32[O], or None.
        """

    @property
    def nbytes(self) -> int:
        """The memory of the values and scales, all of which a product reads."""

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def element(self) -> str: ...

@final
class Paths:
    """Which slots each new row sees, in order from its root to itself.

    Args:
        offsets: int64[T+1], from 0 to len(slots), strictly increasing.
        slots: int32, not negative. Row i sees slots[offsets[i]:offsets[i+1]]; the last of them is
            its own, where its key and value will be stored, and no two rows have the same own slot.
    """

    def __init__(self, offsets: NDArray[np.int64], slots: NDArray[np.int32]) -> None: ...
    @staticmethod
    def walk(parents: NDArray[np.int32], nodes: NDArray[np.int32]) -> Paths:
        """Return the paths that end in `nodes`; parents[s] is slot s's, negative for a root."""

    def __len__(self) -> int: ...

@final
class KeyValueCache:
    """Keys and values of all layers in numbered slots, in chunks that never move.

    Args:
        layers, heads, head_size: the model's shape.
        element: f32 or f16, how keys and values are stored.
    """

    def __init__(self, layers: int, heads: int, head_size: int, element: Element) -> None: ...
    @property
    def slots(self) -> int:
        """The number of slots there is memory for."""

    @property
    def slot_bytes(self) -> int:
        """The memory of one slot."""

    @property
    def chunk_slots(self) -> int:
        """Memory grows by this many slots at a time."""

    def reserve(self, slots: int) -> None:
        """Make room for at least `slots` slots, keeping what is stored.

        Raises:
            MemoryError: the system has no more memory; the cache is unchanged.
        """

def linear(
    pool: Pool,
    x: NDArray[np.float32],
    matrix: Matrix,
    out: NDArray[np.float32],
    add: bool = False,
) -> None:
    """Write x W + bias to `out`, or add it to what is there.

    Args:
        pool: who computes.
        x: float32[R, K]; must not overlap `out`.
        matrix: the weights.
        out: float32[R, O].
        add: add to `out` instead of overwriting it, as residual connections do.
    """

def layer_norm(
    pool: Pool,
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    epsilon: float,
    out: NDArray[np.float32],
) -> None:
    """Write the layer norm of each row of x: [R, D] to out: [R, D]; both may be the same array."""

def gelu(pool: Pool, x: NDArray[np.float32], kind: Literal["tanh", "erf"]) -> None:
    """Replace each element of x: [R, K] by its GELU, in the tanh form or the erf form."""

def attention(
    pool: Pool,
    qkv: NDArray[np.float32],
    cache: KeyValueCache,
    layer: int,
    paths: Paths,
    scale: float,
    out: NDArray[np.float32],
) -> None:
    """Store the new keys and values of one layer, then let each row attend along its path.

    Args:
        pool: who computes.
        qkv: float32[T, 3 N H]: queries, keys and values side by side, each [N, H].
        cache: of N heads of size H.
        layer: whose keys and values these are.
        paths: T paths; all slots below `cache.slots`.
        scale: what scores are multiplied by before the softmax.
        out: float32[T, N H].
    """

def embedding(
    pool: Pool,
    tokens: NDArray[np.int32],
    positions: NDArray[np.int32],
    wte: Matrix,
    wpe: Matrix,
    out: NDArray[np.float32],
) -> None:
    """Write wte[tokens] + wpe[positions] to `out`.

    Args:
        pool: who computes.
        tokens: int32[T], rows of wte's array.
        positions: int32[T], rows of wpe's array.
        wte: the array [V, D], given as `transposed`, or in q8.
        wpe: the array [P, D], likewise.
        out: float32[T, D].
    """

def read_bandwidth(pool: Pool, size: int, rounds: int) -> float:
    """Return bytes per second: the best of `rounds` readings of `size` bytes by all threads."""

def fma_peak(pool: Pool, rounds: int) -> float:
    """Return float32 operations per second (two per FMA and lane), the best of `rounds`."""

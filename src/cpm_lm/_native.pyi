"""The CPU kernels, compiled from `native/`: arrays in, arrays out.

Knows numpy arrays, threads and instruction sets; does not know models, layers or tokens' meaning.
Every array is C-contiguous and of exactly the type named. An argument that does not fit raises
ValueError before any kernel runs. The GIL is released while a kernel runs. A kernel in the main
thread ends with what a signal's handler raises (KeyboardInterrupt), and leaves its output half
written. While Python ends, kernels in other threads end with SystemExit. The result of a row is the
same, to the bit, for any other rows of the call, any position among them and any number of threads.

K inputs, O outputs and R rows of a linear map; D width, V vocabulary, T new tokens, N heads, H head
size, S slots.
"""

import mmap
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

Element = Literal["f32", "f16", "bf16"]
"""How elements are stored: float32, float16, or bfloat16 as its bits in uint16."""

Quantized = Literal["q8", "q4"]
"""Integers with one scale a group: groups of 64 in 8 bits, of 32 in 4 bits."""

def instruction_sets() -> list[str]:
    """Return those this processor can run of "amx", "avx512", "avx2", "portable", best first."""

def instruction_set() -> str:
    """Return the default of a pool: what CPM_ISA names, or else the best."""

@final
class Pool:
    """Threads that compute, and the instruction set they use.

    Calls from several Python threads run one after the other. After a fork the child starts its own
    threads. The calling thread is one of the threads, so `Pool(1)` starts none.

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
        values: [rows, columns]: float32 (f32), float16 (f16), uint16 (bf16). May be
            memory-mapped.
        element: the type of `values`.
        transposed: False for [K, O], as in Hugging Face's Conv1D; True for [O, K], as in an
            embedding that is also the output matrix.
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
        """Return a view of a matrix [O, K] in 8 or 4 bits, with rows padded to whole groups.

        A product quantizes each row of x to 16 bits, with one scale a row. A row that has NaN or
        infinity gives NaN.

        Args:
            values: q8: int8[O, 64 G], weight = value * scale. q4: uint8[O, 16 G]; byte i of the
                16 of a group has element i in its low half and i + 16 in its high half, weight =
                (half - 8) * scale. The padding must stand for 0.
            scales: float16[O, G], finite.
            element: q8 or q4.
            inputs: K, of which G = K / 64 or K / 32, rounded up.
            bias: float32[O], or None.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of the values and scales: what a product reads."""

    @property
    def inputs(self) -> int: ...
    @property
    def outputs(self) -> int: ...
    @property
    def element(self) -> str: ...

@final
class Paths:
    """The slots that each new row attends to, from the root of its path to itself.

    Args:
        offsets: int64[T+1], from 0 to len(slots), strictly increasing.
        slots: int32, not negative. Row i attends to slots[offsets[i]:offsets[i+1]]. The last of
            them is its own, where its key and value are stored; it differs for every row.
    """

    def __init__(self, offsets: NDArray[np.int64], slots: NDArray[np.int32]) -> None: ...
    @staticmethod
    def walk(parents: NDArray[np.int32], nodes: NDArray[np.int32]) -> Paths:
        """Return the paths that end in `nodes`; parents[s] < 0 marks slot s as a root."""

    def __len__(self) -> int: ...

@final
class KeyValueCache:
    """The KV cache: keys and values of all layers by slot, in chunks that never move.

    Args:
        layers, heads, head_size: the model's shape.
        element: f32 or f16, how keys and values are stored.
    """

    def __init__(self, layers: int, heads: int, head_size: int, element: Element) -> None: ...
    @property
    def slots(self) -> int:
        """The number of slots that have memory."""

    @property
    def slot_bytes(self) -> int:
        """Bytes of one slot."""

    @property
    def chunk_slots(self) -> int:
        """The number of slots of a chunk, by which memory grows."""

    def reserve(self, slots: int) -> None:
        """Allocate memory for at least `slots` slots; what is stored stays.

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
    """Write x W + bias to `out`, or add it to `out`.

    Args:
        pool: the threads that compute.
        x: float32[R, K]; must not overlap `out`.
        matrix: the weights.
        out: float32[R, O].
        add: add to `out`, as a residual connection does, instead of overwriting it.
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
    """Append the new keys and values of one layer, then attend from each row to its path.

    Args:
        pool: the threads that compute.
        qkv: float32[T, 3 N H]: queries, keys and values, each [N, H].
        cache: of N heads of size H.
        layer: the layer of these keys and values.
        paths: T paths; all slots below `cache.slots`.
        scale: factor of the scores before the softmax.
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
        pool: the threads that compute.
        tokens: int32[T], rows of wte's array.
        positions: int32[T], rows of wpe's array.
        wte: the array [V, D], given as `transposed`, or in q8.
        wpe: the array [P, D], likewise.
        out: float32[T, D].
    """

def read_bandwidth(pool: Pool, size: int, rounds: int) -> float:
    """Return bytes per second: all threads read `size` bytes, the best of `rounds`."""

def fma_peak(pool: Pool, rounds: int) -> float:
    """Return float32 operations per second (two per FMA and lane), the best of `rounds`."""

def watch_mapping(mapped: mmap.mmap, message: str) -> int:
    """Write a message to stderr if the process gets SIGBUS by reading this mapping.

    What the process does with SIGBUS does not change: the handler that was there before runs next.

    Args:
        mapped: the memory of a file.
        message: a line with its end; at most 1024 bytes of it are written.

    Returns:
        The watch, for `unwatch_mapping`; -1 on Windows and if there are 256 already.
    """

def unwatch_mapping(watch: int) -> None:
    """End a watch; must be called before the mapping ends."""

def end_if_stuck(seconds: int, last_words: str) -> None:
    """End the process by exit code 128 + n if Python does not handle a signal soon.

    For SIGINT, SIGTERM and SIGHUP, as far as they are not ignored; their present handlers run too.
    SIGALRM counts the time, and `signal.alarm(0)` ends the count. A second SIGINT ends the process
    at once. Does nothing on Windows.

    Args:
        seconds: how long Python may take, 1 to 3600.
        last_words: written to stderr before such an end; at most 64 bytes.
    """

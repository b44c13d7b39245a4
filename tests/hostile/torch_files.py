"""Files of torch.save made by hand: any opcodes beside a small model, in both containers."""

from __future__ import annotations

import functools
import pickle
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cpm_lm.checkpoints.containers.torch_file import LEGACY_MAGIC, LEGACY_PROTOCOL
from cpm_lm.checkpoints.containers.torch_writer import NewTensor, _pickle
from cpm_lm.checkpoints.layout import Dims, rows

__all__ = [
    "CONTAINERS", "NAME", "integer", "model", "name_of", "shard", "text", "write_legacy",
    "write_zip",
]  # fmt: skip

NAME = "mp_rank_00_model_states.pt"
DIMS = Dims(vocab_size=8, n_positions=4, n_embd=4, n_layer=1)
Storages = dict[str, bytes]


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def name_of(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


@functools.cache
def model(seed: int = 0) -> tuple[bytes, Storages]:
    """The opcodes of a whole model's weights, and its storages."""
    draw = np.random.default_rng(seed)
    tensors, storages = {}, {}
    for key, row in enumerate(rows(DIMS.n_layer)):
        shape = [DIMS.size(letter) for letter in row.shape]
        shape = shape[::-1] if row.transposed else shape
        values = draw.normal(size=shape).astype("<f4")
        tensors[row.megatron] = NewTensor("F32", tuple(shape), lambda: iter(()))
        storages[str(key)] = values.tobytes()
    return _pickle(tensors, []), storages


def write_zip(path: Path | BinaryIO, record: bytes, storages: Storages) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"data.pkl": record, "byteorder": b"little", "version": b"3\n"}.items():
            archive.writestr(f"x/{name}", data)
        for key, data in storages.items():
            archive.writestr(f"x/data/{key}", data)


def write_legacy(path: Path, record: bytes, storages: Storages) -> None:
    parts = [pickle.dumps(LEGACY_MAGIC, 2), pickle.dumps(LEGACY_PROTOCOL, 2)]
    parts += [pickle.dumps({"little_endian": True}, 2), record, pickle.dumps(list(storages), 2)]
    for data in storages.values():
        parts += [struct.pack("<q", len(data) // 4), data]
    path.write_bytes(b"".join(parts))


CONTAINERS = {"zip": write_zip, "legacy": write_legacy}


def shard(folder: Path, beside: bytes, container: str = "zip", key: str = "x") -> Path:
    """Write a shard with a model, and what some opcodes make beside it; return its folder."""
    weights, storages = model()
    start = b"\x80\x02}" + text("module") + weights + b"s"
    record = start + text(key) + beside + b"s."
    CONTAINERS[container](folder / NAME, record, storages)
    return folder

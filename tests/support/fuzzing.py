"""Read damaged files of every format: `make fuzz`.

Any bytes must give a model or one of our errors; nothing is executed, nothing hangs, and memory
stays near the size of the file. A file that fails this is copied to `--keep`.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertTokenizer

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.source import open_source
from cpm_lm.choices import WeightFormat
from cpm_lm.errors import CpmError
from cpm_lm.tokenizer import Tokenizer
from tests.support.grammars import GRAMMARS
from tests.support.make_pretrained import random_model, state_of, write_bin, write_h5
from tests.support.make_shards import write_shards
from tests.support.tiny_bert import PIECES, write_pieces

LONGEST = 10.0
"""Seconds that reading may take; the files have a few kilobytes."""
MAX_GROWTH = 100_000_000
"""Bytes that memory may grow by while one format is tested."""
MODEL = random_model(n_layer=1, vocab_size=len(PIECES), n_embd=8, n_head=2, n_positions=8)
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1 << 31, 1 << 63, 10**300, 1e308, float("nan"), "", "../x", "\x00", [], {},
    [[]], {"": {}}, "x" * 1000,
)  # fmt: skip


def saved(directory: Path) -> Path:
    MODEL.save_pretrained(directory)
    return directory


def shards(directory: Path, **how: Any) -> Path:
    return write_shards(directory, vocab=8, width=8, layers=1, ranks=1, **how) / "500"


def legacy(directory: Path) -> Path:
    write_bin(directory, MODEL, state_of(MODEL))
    torch.save(
        state_of(MODEL), directory / "pytorch_model.bin", _use_new_zipfile_serialization=False
    )
    return directory


def in_two(directory: Path) -> Path:
    return write_bin(directory, MODEL, state_of(MODEL), shards=2)


def packed(directory: Path, weights: WeightFormat) -> Path:
    convert(saved(directory.parent / f"float-{weights}"), directory, weights=weights)
    return directory


def newer_tokenizer(directory: Path) -> Path:
    write_pieces(directory / "old")
    BertTokenizer.from_pretrained(directory / "old").save_pretrained(directory)
    return directory


def with_added_tokens(directory: Path) -> Path:
    entry = {"content": "<s>", "special": True, "normalized": False}
    write_pieces(directory, added_tokens_decoder={str(len(PIECES)): entry}, eos_token="<s>")
    added = {"<s>": len(PIECES), "天气": len(PIECES) + 1}
    (directory / "added_tokens.json").write_text(json.dumps(added))
    return directory


def with_special_names(directory: Path) -> Path:
    write_pieces(directory)
    names = {"eos_token": {"content": "</s>"}, "additional_special_tokens": ["<a>"]}
    (directory / "special_tokens_map.json").write_text(json.dumps(names))
    record = {"text_style": "eos", "eos_token": "</s>"}
    (directory / "text_style.json").write_text(json.dumps(record))
    return directory


def encoding(directory: Path) -> None:
    """Whatever opens must encode a text: the library gets all pieces and flags only then."""
    Tokenizer.load(directory).encode("今天天气 hello")


def check_finite(directory: Path) -> None:
    """Open a store; all packed matrices must have finite numbers."""
    store = Store.open(directory)
    for name in store.names:
        values = store.float32(name)
        if store.packed(name) is not None and not np.isfinite(values).all():
            raise AssertionError(f"{name} holds numbers that are not finite")


Read = Callable[[Path], Any]
TARGETS: dict[str, tuple[Callable[[Path], Path], str, Read]] = {
    "torch file": (
        lambda d: write_bin(d, MODEL, state_of(MODEL)),
        "pytorch_model.bin",
        open_source,
    ),
    "older torch file": (legacy, "pytorch_model.bin", open_source),
    "shard": (shards, "mp_rank_00_model_states.pt", open_source),
    "safetensors": (saved, "model.safetensors", open_source),
    "q8": (lambda d: packed(d, "q8"), "model.safetensors", check_finite),
    "q4": (lambda d: packed(d, "q4"), "model.safetensors", check_finite),
    "quantization": (lambda d: packed(d, "q4"), "config.json", Store.open),
    "h5": (lambda d: write_h5(d, MODEL), "tf_model.h5", open_source),
    "config": (saved, "config.json", open_source),
    "index": (in_two, "pytorch_model.bin.index.json", open_source),
    "vocab.txt": (write_pieces, "vocab.txt", encoding),
    "tokenizer settings": (
        lambda d: write_pieces(d, do_lower_case=True, cls_token="[CLS]"),
        "tokenizer_config.json",
        encoding,
    ),
    "added tokens": (with_added_tokens, "added_tokens.json", encoding),
    "added tokens of newer settings": (with_added_tokens, "tokenizer_config.json", encoding),
    "special tokens": (with_special_names, "special_tokens_map.json", encoding),
    "text style": (with_special_names, "text_style.json", encoding),
    "tokenizer.json": (newer_tokenizer, "tokenizer.json", encoding),
}
"""By format: the writer, the file to damage, the reader."""


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Change, delete, repeat or insert some bytes, most often near the beginning."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 30])):
        start = draw.randrange(min(len(data), draw.choice([64, 1000, 1 << 30])) or 1)
        kind = draw.randrange(6)
        if kind == 0:
            del data[start : start + draw.randrange(1, 40)]
        elif kind == 1:
            data[start:start] = draw.randbytes(draw.randrange(1, 9))
        elif kind == 2:
            data[start:start] = data[start : start + draw.randrange(1, 40)]
        elif kind == 3:
            data = data[: draw.randrange(len(data) + 1)]
        elif data[start : start + 1]:
            data[start] = draw.choice([0, 255, draw.randrange(256), data[start] ^ 1])
        if not data:
            break
    return bytes(data)


def altered(value: Any, draw: random.Random) -> Any:
    """Replace one value of a JSON document, at any depth."""
    inside = list(value) if isinstance(value, dict) else range(len(value)) if value else []
    if not isinstance(value, dict | list) or not inside or draw.random() < 0.2:
        return draw.choice(ODD)
    copy, key = value.copy(), draw.choice(list(inside))
    copy[key] = altered(copy[key], draw) if isinstance(copy[key], dict | list) else draw.choice(ODD)
    return copy


def variant(content: bytes, name: str, draw: random.Random) -> bytes:
    if name.endswith(".json") and draw.random() < 0.7:
        return json.dumps(altered(json.loads(content), draw)).encode()
    return damaged(content, draw)


def too_slow(*_: Any) -> None:
    raise TimeoutError(f"more than {LONGEST} s")


def attempt(read: Read, directory: Path, failed: Path, kept: Path) -> bool:
    """Return whether a directory is readable; keep a file or a directory that fails."""
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        read(directory)
        return True
    except CpmError:
        return False
    except BaseException:
        copy = shutil.copytree if failed.is_dir() else shutil.copyfile
        copy(failed, kept)
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def fuzz_grammar(target: str, seconds: float, seed: int, keep: Path) -> tuple[int, int]:
    """Read files that follow a grammar; return how many, and how many were readable."""
    write, read = GRAMMARS[target]
    draw, tried, fine = random.Random(seed), 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), draw)
            fine += attempt(read, Path(folder), Path(folder), keep / target.replace(" ", "-"))
        tried += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    if grown > MAX_GROWTH:
        raise MemoryError(f"{target}: memory grew by {grown:,} bytes")
    return tried, fine


def fuzz(target: str, seconds: float, seed: int, keep: Path) -> tuple[int, int]:
    """Read damaged files for some seconds; return how many, and how many were readable."""
    write, name, read = TARGETS[target]
    draw, tried, fine = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        directory = write(Path(folder) / "in")
        whole = (directory / name).read_bytes()
        read(directory)  # it must be readable when undamaged
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            content = variant(whole, name, draw)
            (directory / name).write_bytes(content)
            fine += attempt(read, directory, directory / name, keep / name)
            tried += 1
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        if grown > MAX_GROWTH:
            raise MemoryError(f"{target}: memory grew by {grown:,} bytes")
    return tried, fine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="in total")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path(), help="directory for a file that fails")
    options = parser.parse_args()
    signal.signal(signal.SIGALRM, too_slow)
    each = options.seconds / (len(TARGETS) + len(GRAMMARS))
    for target in (*TARGETS, *GRAMMARS):
        read = fuzz if target in TARGETS else fuzz_grammar
        tried, fine = read(target, each, options.seed, options.keep)
        sys.stdout.write(f"{target}: {tried} files, {fine} of them readable\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

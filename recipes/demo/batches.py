"""Token ids cut into windows and batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int32, UInt16

from cpm_lm.tokenizer import Tokenizer
from recipes.demo.settings import Settings
from recipes.demo.texts import read_documents

__all__ = ["held_out_windows", "stages", "windows"]


def windows(ids: UInt16[np.ndarray, " n"], length: int) -> Int32[np.ndarray, "w l"]:
    """Cut a stream of ids into int32[windows, length + 1]; each begins with the last id of the
    previous one.
    """
    starts = np.arange((len(ids) - 1) // length)[:, None] * length
    return np.asarray(ids[starts + np.arange(length + 1)], np.int32)


def stages(ids: UInt16[np.ndarray, " n"], settings: Settings) -> Iterator[tuple[np.ndarray, int]]:
    """Yield each stage's windows and batch size; every id is used once, in order."""
    start = 0
    for length, share in settings.stages:
        part = ids[start : start + round(share * len(ids))]
        start += len(part)
        batch = settings.batch_tokens // length
        cut = windows(part, length)
        yield cut[: len(cut) // batch * batch], batch


def held_out_windows(work: Path, kind: str, length: int, count: int) -> Int32[np.ndarray, "w l"]:
    """Return windows of the held-out documents, for the log."""
    tokenizer = Tokenizer.load(work / "tokenizer")
    (end,) = tokenizer.end_ids
    ids: list[int] = []
    for document in read_documents(work / "held_out.jsonl"):
        if document.kind == kind and len(ids) <= count * length:
            ids += [*tokenizer.encode(document.text), end]
    return windows(np.array(ids, np.uint16), length)[:count]

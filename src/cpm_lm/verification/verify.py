"""Whether a model on disk is what it should be: its files, its numbers, its loss on Chinese.

Knows the order of the checks; each has its own module.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from cpm_lm.checkpoints.dtypes import DTYPES
from cpm_lm.checkpoints.integrity import (
    CheckedFile,
    Recorded,
    check_file,
    nonfinite_tensors,
    recorded,
)
from cpm_lm.checkpoints.manifest import MANIFEST
from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.engines.base import Engine
from cpm_lm.engines.opening import own_weights, start_checkpoint
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import CheckpointError, ConfigError, CpmError, TokenizerError
from cpm_lm.progress import Progress, ProgressCounter
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.logit_difference import (
    Difference,
    common_length,
    default_tolerance,
    largest_difference,
    logits_of,
)
from cpm_lm.verification.sanity import Sanity, sanity

__all__ = ["Verification", "verify"]


@dataclass(kw_only=True)
class Verification:
    """What was found; the model is sound if there are no problems."""

    path: str
    layout: str | None = None
    """None where the checkpoint could not be opened."""
    weights: str | None = None
    parameters: int | None = None
    files: tuple[CheckedFile, ...] | None = None
    """None where there is no manifest to compare them with, or digests were not asked for."""
    engine: str | None = None
    """What computed the logits, if any were."""
    sanity: Sanity | None = None
    difference: Difference | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be checked, and why."""

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {"sound": not self.problems, **dataclasses.asdict(self)}


def verify(
    path: str | Path,
    *,
    against: str | Path | None = None,
    tolerance: float | None = None,
    digests: bool = True,
    loss: bool = True,
    heads: int | None = None,
    engine: str = EngineOptions.engine,
    threads: int | None = EngineOptions.threads,
    progress: Progress | None = None,
) -> Verification:
    """Check a model, and how far its logits are from another's.

    Checked are the files against the manifest, the shapes and the number of parameters, that all
    numbers are finite, and the loss on a fixed Chinese text, which tells random and wrongly
    joined weights and foreign vocabularies. All problems are collected.

    Args:
        path: whatever `convert` reads. What is not a store has no digests, unless it was written
            by `convert`, and is converted into a temporary directory to be run.
        against: another model of the same vocabulary, in any of these forms.
        tolerance: the largest difference of logits that is no problem. Default: 1e-4 where both
            have the same number format, else 1e-2 (f16) or 8e-2 (bf16), in proportion more where
            the standard deviation of the logits is above 1.5.
        digests: whether to compute digests; a few seconds for each gigabyte.
        loss: whether to run the model on the fixed text.
        heads: attention heads, of checkpoints that do not say and are of no known shape.
        engine: what computes, see `open_engine`.
        threads: how many threads it uses.
        progress: called with the bytes checked and the bytes in all.

    Raises:
        CheckpointError: nothing readable is at `path` or at `against`.
        CapacityError: the disk of the temporary directory is too small.
        ConfigError: the two cannot be compared, the heads are not known, or a tolerance is needed.
        EngineError: the engine is unknown, not installed, or cannot run in this process.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected a directory with a checkpoint")
    found = Verification(path=str(path))
    source = _open(path, found)
    rival = _rival(source, Path(against), tolerance) if source and against is not None else None
    _check_files(path, source, digests, found, progress)
    if source is None or found.problems or not (loss or rival):
        return found
    options = EngineOptions(engine=engine, threads=threads)
    known = rival.source.config if rival else None
    try:
        with start_checkpoint(source, options, heads=heads, config=known) as ours:
            logits = _run(source, ours, loss, rival, found)
    except (CheckpointError, TokenizerError) as error:
        found.problems.append(str(error))
        return found
    if rival:
        shape = ours.config
        with start_checkpoint(rival.source, options, heads=heads, config=shape) as theirs:
            there = logits_of(theirs, rival.length)
        found.difference = largest_difference(
            logits,
            there,
            other=str(against),
            tolerance=rival.tolerance,
            scale_tolerance=tolerance is None,
        )
        _note(found.difference.problem, found.problems)
    return found


@dataclass(frozen=True)
class _Rival:
    """The model to compare with, found fit for it."""

    source: Source
    length: int
    tolerance: float


def _rival(source: Source, path: Path, tolerance: float | None) -> _Rival:
    other = open_source(path)
    length = common_length(source.dims, other.dims)
    if tolerance is None:
        formats = own_weights(source), own_weights(other)
        tolerance = default_tolerance(*formats)
        if tolerance is None:
            raise ConfigError(
                f"how far {' and '.join(formats)} may be apart is not known; give a tolerance "
                "(--tolerance), or see how their predictions differ with cpm compare"
            )
    elif not 0 <= tolerance < math.inf:
        raise ConfigError(f"tolerance is {tolerance}; expected a finite number of at least 0")
    return _Rival(other, length, tolerance)


def _open(path: Path, found: Verification) -> Source | None:
    """Open the checkpoint; what is wrong with it is a finding, not an error."""
    try:
        source = open_source(path)
    except CpmError as error:
        found.problems.append(str(error))
        return None
    found.layout, found.weights = source.layout, own_weights(source)
    found.parameters = source.parameters
    return source


def _check_files(
    path: Path,
    source: Source | None,
    digests: bool,
    found: Verification,
    progress: Progress | None,
) -> None:
    """Compare the files with their manifest, and look at every number."""
    record = _record(path, found)
    files = record.files if record and digests else ()
    numbers = sum(
        math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
        for tensor in (source.tensors.values() if source else ())
    )
    count = ProgressCounter(sum(file.bytes for file in files) + numbers, progress)
    if record and digests:
        found.files = tuple(check_file(path, file, count.add) for file in files)
        found.problems += [f"{file.name} {file.problem}" for file in found.files if file.problem]
    if source is None:
        return
    if record and record.parameters not in (None, source.parameters):
        found.problems.append(
            f"there are {source.parameters:,} parameters, {record.parameters:,} were written"
        )
    for name, infinite in nonfinite_tensors(source, count.add).items():
        found.problems.append(f"{name} holds {infinite} numbers that are NaN or infinite")


def _record(path: Path, found: Verification) -> Recorded | None:
    try:
        record = recorded(path) if path.is_dir() else None
    except CheckpointError as error:
        found.problems.append(str(error))
        return None
    if record is None:
        found.notes.append(
            f"there is no {MANIFEST}, so whether the files are as they were written is not known"
        )
    return record


def _run(
    source: Source, engine: Engine, loss: bool, rival: _Rival | None, found: Verification
) -> Float32[np.ndarray, "R V"]:
    """Compute what is wanted of the model itself; return logits to compare with a rival's."""
    found.engine = engine.name
    if loss:
        _check_loss(source, engine, found)
    if rival is None:
        return np.zeros((0, source.dims.vocab_size), np.float32)
    return logits_of(engine, rival.length)


def _check_loss(source: Source, engine: Engine, found: Verification) -> None:
    if source.tokenizer is None:
        found.notes.append("there is no vocabulary, so the loss on a text was not measured")
        return
    tokenizer = Tokenizer.load(source.tokenizer)
    if tokenizer.vocab_size != engine.config.vocab_size:
        raise TokenizerError(
            f"the vocabulary has {tokenizer.vocab_size:,} pieces, the word embedding "
            f"{engine.config.vocab_size:,} rows; one of them belongs to another model"
        )
    if tokenizer.note:
        found.notes.append(tokenizer.note)
    found.sanity = sanity(engine, tokenizer)
    _note(found.sanity.problem if found.sanity else None, found.problems)


def _note(problem: str | None, problems: list[str]) -> None:
    if problem:
        problems.append(problem)

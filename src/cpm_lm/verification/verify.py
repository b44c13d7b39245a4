"""Verify a model on disk: files, values, loss on Chinese text, and logits against another model.

Knows the order of the checks; does not know how each one works.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from cpm_lm.checkpoints.dtypes import DTYPES, nonfinite_problem
from cpm_lm.checkpoints.integrity import (
    CheckedFile,
    ManifestRecord,
    check_file,
    nonfinite_tensors,
    read_manifest,
)
from cpm_lm.checkpoints.manifest import MANIFEST
from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.engines.base import Engine
from cpm_lm.engines.opening import own_weights, start_checkpoint
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import CheckpointError, ConfigError, CpmError, TokenizerError
from cpm_lm.progress import Progress, ProgressCounter
from cpm_lm.storage.replacing import put_back
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
    """The result of all checks; the model is sound if there are no problems."""

    path: str
    layout: str | None = None
    """None if the checkpoint cannot be opened."""
    weights: str | None = None
    parameters: int | None = None
    files: tuple[CheckedFile, ...] | None = None
    """None if there is no manifest, or digests were not requested."""
    engine: str | None = None
    """The engine that computed the logits; None if none did."""
    sanity: Sanity | None = None
    difference: Difference | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Checks that were not possible, and why."""

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
    """Verify a model, and optionally compare its logits with those of another model.

    The checks are: the files against the manifest; the shapes and the number of parameters; all
    values are finite; the loss on a fixed Chinese text, which detects random weights, wrongly
    merged weights and a wrong vocabulary. All problems are collected.

    Args:
        path: any path that `convert` accepts. A checkpoint that `convert` did not write has no
            digests. A checkpoint that is not a store is converted to a temporary store to run it.
        against: another model with the same vocabulary, in any of these forms.
        tolerance: the largest accepted difference of logits. Default: 1e-4 for equal number
            formats, else 1e-2 (f16) or 8e-2 (bf16); it grows in proportion to the standard
            deviation of the logits, above 1.5.
        digests: whether to compute digests, which takes a few seconds for each gigabyte.
        loss: whether to run the model on the fixed text.
        heads: the number of attention heads, if not recorded and the width is not known.
        engine: the engine to use, see `open_engine`.
        threads: the number of threads of the engine.
        progress: called with the bytes checked and the total.

    Raises:
        CheckpointError: `path` does not exist, or there is no readable checkpoint at `against`.
        CapacityError: the disk of the temporary directory is too small.
        ConfigError: the models cannot be compared, the number of heads is unknown, or a tolerance
            is required.
        EngineError: the engine is unknown, not installed, or cannot run in this process.
    """
    path = Path(path)
    put_back(path)
    if not path.exists():
        raise CheckpointError(f"{path} does not exist; expected a directory with a checkpoint")
    result = Verification(path=str(path))
    source = _open(path, result)
    other = (
        _open_other(source, Path(against), tolerance) if source and against is not None else None
    )
    _check_files(path, source, digests, result, progress)
    if source is None or result.problems or not (loss or other):
        return result
    options = EngineOptions(engine=engine, threads=threads)
    other_config = other.source.config if other else None
    try:
        with start_checkpoint(source, options, heads=heads, config=other_config) as engine_here:
            logits = _compute_logits(source, engine_here, loss, other, result)
    except (CheckpointError, TokenizerError) as error:
        result.problems.append(str(error))
        return result
    if other:
        shape = engine_here.config
        with start_checkpoint(other.source, options, heads=heads, config=shape) as engine_there:
            there = logits_of(engine_there, other.length)
        result.difference = largest_difference(
            logits,
            there,
            other=str(against),
            tolerance=other.tolerance,
            scale_tolerance=tolerance is None,
        )
        _add_problem(result.difference.problem, result.problems)
    return result


@dataclass(frozen=True)
class _Other:
    """The other model of a comparison, after the checks."""

    source: Source
    length: int
    """The number of tokens of each sequence."""
    tolerance: float


def _open_other(source: Source, path: Path, tolerance: float | None) -> _Other:
    opened = open_source(path)
    length = common_length(source.dims, opened.dims)
    if tolerance is None:
        formats = own_weights(source), own_weights(opened)
        tolerance = default_tolerance(*formats)
        if tolerance is None:
            raise ConfigError(
                f"no default tolerance for {' against '.join(formats)}; give one (--tolerance), "
                "or compare the predictions with cpm compare"
            )
    elif not 0 <= tolerance < math.inf:
        raise ConfigError(f"tolerance is {tolerance}; expected a finite number of at least 0")
    return _Other(opened, length, tolerance)


def _open(path: Path, result: Verification) -> Source | None:
    """Open the checkpoint; an error is recorded as a problem."""
    try:
        source = open_source(path)
    except CpmError as error:
        result.problems.append(str(error))
        return None
    result.layout, result.weights = source.layout, own_weights(source)
    result.parameters = source.parameters
    return source


def _check_files(
    path: Path,
    source: Source | None,
    digests: bool,
    result: Verification,
    progress: Progress | None,
) -> None:
    """Check the files against their manifest, and all values for NaN and infinity."""
    record = _read_record(path, result)
    files = record.files if record and digests else ()
    tensor_bytes = sum(
        math.prod(tensor.shape) * DTYPES[tensor.dtype].itemsize
        for tensor in (source.tensors.values() if source else ())
    )
    counter = ProgressCounter(sum(file.bytes for file in files) + tensor_bytes, progress)
    if record and digests:
        result.files = tuple(check_file(path, file, counter.add) for file in files)
        result.problems += [f"{file.name} {file.problem}" for file in result.files if file.problem]
    if source is None:
        return
    if record and record.parameters not in (None, source.parameters):
        result.problems.append(
            f"there are {source.parameters:,} parameters, but the manifest records "
            f"{record.parameters:,}"
        )
    for name, count in nonfinite_tensors(source, counter.add).items():
        result.problems.append(nonfinite_problem(name, count))


def _read_record(path: Path, result: Verification) -> ManifestRecord | None:
    try:
        record = read_manifest(path) if path.is_dir() else None
    except CheckpointError as error:
        result.problems.append(str(error))
        return None
    if record is None:
        result.notes.append(f"there is no {MANIFEST}, so the files could not be compared with it")
    return record


def _compute_logits(
    source: Source, engine: Engine, loss: bool, other: _Other | None, result: Verification
) -> Float32[np.ndarray, "R V"]:
    """Check the loss if requested; return the logits for the comparison, or zero rows."""
    result.engine = engine.name
    if loss:
        _check_loss(source, engine, result)
    if other is None:
        return np.zeros((0, source.dims.vocab_size), np.float32)
    return logits_of(engine, other.length)


def _check_loss(source: Source, engine: Engine, result: Verification) -> None:
    if source.tokenizer is None:
        result.notes.append("there is no vocabulary, so the loss on a text was not measured")
        return
    tokenizer = Tokenizer.load(source.tokenizer)
    if tokenizer.vocab_size != engine.config.vocab_size:
        raise TokenizerError(
            f"the vocabulary has {tokenizer.vocab_size:,} pieces, but the word embedding "
            f"has {engine.config.vocab_size:,} rows; one of them belongs to another model"
        )
    if tokenizer.note:
        result.notes.append(tokenizer.note)
    result.sanity = sanity(engine, tokenizer)
    _add_problem(result.sanity.problem if result.sanity else None, result.problems)


def _add_problem(problem: str | None, problems: list[str]) -> None:
    if problem:
        problems.append(problem)

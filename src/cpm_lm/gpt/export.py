"""Export a store for other programs: as a TensorFlow SavedModel or a Keras file.

Knows the files to write; does not know the SavedModel's program, which `generating` does. Imports
a framework only when called.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cpm_lm.checkpoints.config_file import CONFIG, read_values
from cpm_lm.checkpoints.dtypes import DTYPES, WEIGHTS, count_nonfinite, from_float32, weights_dtype
from cpm_lm.checkpoints.layouts.store import QUANTIZATION, Store
from cpm_lm.checkpoints.layouts.tensorflow import EXTRA
from cpm_lm.checkpoints.named import model_path
from cpm_lm.checkpoints.staging import staged, staged_file
from cpm_lm.choices import ExportFormat, FloatFormat, choices
from cpm_lm.display import fields_on_a_line
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.gpt.backend import use_backend
from cpm_lm.gpt.load import fill, keras_model
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Exported", "export"]

STORED = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
EOD = 7
"""The end id of CPM's vocabulary."""
SAVED_MODEL = "saved_model.pb"
"""The file that marks a directory as a SavedModel."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The result of an export."""

    format: ExportFormat
    weights: FloatFormat
    parameters: int
    bytes: int
    """The size of all files."""

    __repr__ = fields_on_a_line


def export(
    source: str | Path,
    target: str | Path,
    *,
    format: ExportFormat,  # noqa: A002
    weights: FloatFormat = "f32",
    compat: bool = False,
    short: bool = False,
    end: int | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a store as a SavedModel or a Keras file.

    Writes to a temporary path and renames it on success. `tf.saved_model.load` loads a SavedModel
    without this package; its signatures are those of `generating.generator`, and its
    `assets.extra` contains the configuration and the tokenizer's files. `keras.saving.load_model`
    loads a Keras file where this package is installed.

    `serving_default`, `seeded` and `logits` have no mask: they read every id, so all prompts of
    one call must have the same length. Use `padded`, `padded_seeded` and `padded_logits` for a
    padded batch, and the argument `mask` of `gpt.GPT.call` for a Keras file.

    Args:
        source: a store made by `cpm convert`; 8-bit and 4-bit weights are dequantized.
        target: the directory, or the file ending in `.keras`, to write.
        format: "saved-model" or "keras".
        weights: the number format, "f32", "f16" or "bf16"; 16-bit weights are converted to float32
            for computing.
        compat: a SavedModel that draws one token more than asked for, as the first TensorFlow
            port's does; this holds for all signatures that draw.
        short: a SavedModel whose `serving_default` has only the arguments `inp` and `length`, as
            that of the first port's float16 model.
        end: the end id; by default the tokenizer's, or CPM's 7 if the store has no tokenizer.
        overwrite: replace an existing target of the same format, once the new one is complete.

    Raises:
        CheckpointError: there is no store, it is damaged, has numbers too large for `weights`, or
            the target cannot be written.
        ConfigError: an option is unknown or cannot be combined with the others.
        EngineError: TensorFlow is not installed, or Keras already runs on another backend.
    """
    target = Path(target)
    if format not in choices(ExportFormat):
        known = ", ".join(choices(ExportFormat))
        raise ConfigError(
            "format is {format!r}; expected one of {known}", format=format, known=known
        )
    dtype = weights_dtype(weights)
    store = Store.open(model_path(source))
    _check_range(store, dtype)
    if format == "keras":
        if compat or short or end is not None:
            raise ConfigError("compat, short and end belong to the format saved-model")
        _write_keras(store, target, weights, overwrite)
    else:
        ends = _ends(store, end)
        with staged(
            target, overwrite=overwrite, replaceable=_is_saved_model, source=store.directory
        ) as work:
            _check_space(work.parent, target, store, dtype)
            _write_saved_model(store, work, weights, ends, int(compat), short)
    files = [target] if target.is_file() else [f for f in target.rglob("*") if f.is_file()]
    return Exported(
        format=format,
        weights=weights,
        parameters=store.config.parameter_count,
        bytes=sum(file.stat().st_size for file in files),
    )


def _write_keras(store: Store, target: Path, weights: str, overwrite: bool) -> None:
    if target.suffix != ".keras":
        raise ConfigError(
            "{target} does not end in .keras, which Keras expects of its files", target=target
        )
    with staged_file(target, overwrite=overwrite) as work:
        _check_space(work.parent, target, store, WEIGHTS[weights])
        keras_model(store, dtype=STORED[weights]).save(work)


def _write_saved_model(
    store: Store, work: Path, weights: str, ends: tuple[int, ...], extra: int, short: bool
) -> None:
    use_backend("tensorflow")
    import tensorflow as tf

    from cpm_lm.gpt.generating import generator
    from cpm_lm.gpt.gpt import GPT
    from cpm_lm.gpt.policy import StoredPolicy

    # Not this machine's policy, because the file may be loaded on another machine.
    policy = STORED[weights] if weights == "f32" else StoredPolicy(f"stored_{STORED[weights]}")
    model = GPT(store.config, initial="zeros", dtype=policy, name="gpt")
    fill(model, store)
    module, signatures = generator(model, ends, extra=extra, short=short)
    try:
        tf.saved_model.save(module, str(work), signatures=signatures)
    except tf.errors.OpError as error:
        raise OSError(error.message.partition("\n")[0]) from None  # `staged` reports OSError
    (work / EXTRA).mkdir()
    values = read_values(store.directory / CONFIG)
    values.pop(QUANTIZATION, None)  # the weights written here are not quantized
    (work / EXTRA / CONFIG).write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    for name in Tokenizer.files(store.directory) if store.has_tokenizer else ():
        shutil.copyfile(store.directory / name, work / EXTRA / name)


def _ends(store: Store, end: int | None) -> tuple[int, ...]:
    """Return the end ids; the first one also pads rows that have ended."""
    ends: tuple[int, ...] = (EOD if end is None else end,)
    if end is None and store.has_tokenizer:
        ends = tuple(sorted(Tokenizer.load(store.directory).end_ids))
    if wrong := [one for one in ends if not 0 <= one < store.config.vocab_size]:
        raise ConfigError(
            "the id {wrong} cannot end a text: the model has {vocab_size} ids; give "
            "the one that does (--end)",
            wrong=wrong[0],
            vocab_size=store.config.vocab_size,
        )
    return ends


def _check_range(store: Store, dtype: str) -> None:
    """Check that the number format can hold all weights; Keras would write infinity instead."""
    if WEIGHTS.get(store.weights) == dtype or dtype == "F32":
        return
    large = [
        name
        for name in store.names
        if count_nonfinite(from_float32(store.float32(name), dtype), dtype)
    ]
    if large:
        raise CheckpointError(
            "numbers too large for {dtype} in {large}; choose weights 'f32'",
            dtype=dtype,
            large=", ".join(large),
        )


def _check_space(work: Path, target: Path, store: Store, dtype: str) -> None:
    free = shutil.disk_usage(work).free
    needed = store.config.parameter_count * DTYPES[dtype].itemsize
    if free < needed:
        raise CheckpointError(
            "the disk of {parent} has {free:,} bytes free; the export needs "
            "{needed:,}: make room, or choose a smaller number format",
            parent=target.absolute().parent,
            free=free,
            needed=needed,
        )


def _is_saved_model(directory: Path) -> bool:
    return (directory / SAVED_MODEL).is_file()

"""From any readable checkpoint to a store: from files to files, without a framework.

Knows the order of the work; the readers, the store and the table know the rest.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from cpm_lm.checkpoints.config_file import read_config
from cpm_lm.checkpoints.forms import Form, WriteJob
from cpm_lm.checkpoints.known.config_quirks import quirks, special_ids
from cpm_lm.checkpoints.known.heads import known_heads
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.megatron_sharding import check_ranks
from cpm_lm.checkpoints.layouts.megatron_writer import LAYOUTS
from cpm_lm.checkpoints.manifest import MANIFEST, Manifest, digest, tool_version
from cpm_lm.checkpoints.options import ConvertOptions
from cpm_lm.checkpoints.quantization.formats import rounding_of, stored_bytes
from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.checkpoints.staging import staged
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError, TokenizerError
from cpm_lm.progress import Progress, ProgressCounter
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.text_style import STYLES
from cpm_lm.tokenizer.text_style_files import RECORD

__all__ = ["convert"]


def convert(
    source: str | Path | Source,
    target: str | Path,
    *,
    to: str = ConvertOptions.to,
    weights: str = ConvertOptions.weights,
    config: str | Path | GPTConfig | None = ConvertOptions.config,
    heads: int | None = ConvertOptions.heads,
    tokenizer: str | Path | None = ConvertOptions.tokenizer,
    text_style: str | None = ConvertOptions.text_style,
    ranks: int | None = ConvertOptions.ranks,
    layout: str | None = ConvertOptions.layout,
    overwrite: bool = ConvertOptions.overwrite,
    progress: Progress | None = None,
) -> Manifest:
    """Make a store of a checkpoint.

    The target appears complete or not at all, also if the process is killed or the disk fills.
    Memory stays far below one layer of the model: tensors are joined and written piece by piece;
    only "q4" has whole matrices in memory, one or two at a time.

    Args:
        source: a store, of any number format; a Megatron checkpoint of any number of ranks: the
            directory with `latest_checkpointed_iteration.txt`, or that of one training step; a
            directory of Hugging Face's GPT-2 with `config.json` and any form of the weights; a
            TensorFlow SavedModel; or any of them opened by `open_source`.
        target: the directory to make.
        to: "store", "huggingface" or "megatron". This and the others: see `ConvertOptions`.
        weights: "f32", "f16", "bf16", "q8" or "q4".
        config: the model's shape, or a JSON file with it.
        heads: the number of attention heads, which shards do not say.
        tokenizer: a directory with the vocabulary; default: the source's own.
        text_style: for BERT's WordPiece, the text style; by default as the files tell.
        ranks: how many shards "megatron" writes.
        layout: how they lie: "deepspeed" or "megatron".
        overwrite: replace an existing store, once the new one is complete.
        progress: called with the bytes done and the bytes in all.

    Returns:
        The record that is kept in the store as `manifest.json`.

    Raises:
        CheckpointError: the source is incomplete or inconsistent, holds numbers that are not
            finite or too large for `weights`, or the target cannot be written.
        ConfigError: the shape is unknown, disagrees with the tensors, or cannot be sharded over
            so many ranks; or an option does not go with `to`.
        TokenizerError: the vocabulary is missing, damaged or does not fit the embedding; its files
            do not tell the text style, and `text_style` is None; or the model needs token types.
    """
    options = ConvertOptions(
        to=to,
        weights=weights,
        config=config,
        heads=heads,
        tokenizer=tokenizer,
        text_style=text_style,
        ranks=ranks,
        layout=layout,
        overwrite=overwrite,
    )
    opened = source if isinstance(source, Source) else open_source(source)
    order = _work(opened, options)
    result_bytes = stored_bytes(Dims.of(order.config), weights)
    total = sum(file.stat().st_size for file in opened.files) + result_bytes
    count = ProgressCounter(total, progress)
    form = options.form
    with staged(Path(target), overwrite=overwrite, replaceable=form.replaceable) as work:
        _check_space(work, result_bytes)
        return _write(form, order, work, count)


def _work(source: Source, options: ConvertOptions) -> WriteJob:
    """Return what is to be written, everything about it checked."""
    shape = _shape(source, options.config, options.heads)
    vocabulary = source.tokenizer if options.tokenizer is None else Path(options.tokenizer)
    words = None if vocabulary is None else _tokenizer(vocabulary, shape, options.text_style)
    if words is None and options.text_style is not None:
        raise ConfigError(
            f"text_style is {options.text_style!r}, but there is no vocabulary; give its directory "
            "(--tokenizer)"
        )
    recorded = vocabulary is not None and (vocabulary / RECORD).is_file()
    style_notes = _style_notes(words, recorded or options.text_style is not None)
    ranks = 1 if options.ranks is None else options.ranks
    if options.to == "megatron":
        check_ranks(shape, ranks)
    return WriteJob(
        source=source,
        config=shape,
        weights=options.weights,
        tokenizer=vocabulary,
        text_style=words.text_style_record if words else {},
        ids=special_ids(words),
        notes=(*source.notes, *_lossy(source), *style_notes, *quirks(shape, source.ids, words)),
        ranks=ranks,
        layout=options.layout or LAYOUTS[0],
    )


def _write(form: Form, order: WriteJob, work: Path, count: ProgressCounter) -> Manifest:
    """Fill the new directory, its manifest last."""
    source = order.source
    written = form.write(work, order, count.add)
    manifest = Manifest(
        tool=tool_version(),
        layout=source.layout,
        ranks=source.ranks,
        iteration=source.iteration,
        weights=order.weights,
        parameters=order.config.parameter_count,
        sources=tuple(
            digest(file, file.relative_to(source.directory).as_posix(), count.add)
            for file in source.files
        ),
        files=written.files,
        rounding=rounding_of(order.weights),
        errors=written.errors,
        ignored=source.ignored,
        notes=order.notes,
    )
    text = json.dumps(manifest.to_json(), indent=2)
    (work / MANIFEST).write_text(text + "\n", "utf-8")
    return manifest


def _lossy(source: Source) -> tuple[str, ...]:
    if source.packed is None:
        return ()
    return (
        f"the source's matrices are in {source.packed}; what that rounding lost stays lost, and "
        "errors are counted from it",
    )


def _style_notes(words: Tokenizer | None, said: bool) -> tuple[str, ...]:
    """Return a note about an inferred text style, so that the user notices a wrong one."""
    if words is None or not words.text_style or said:
        return ()
    return (
        f"text style {words.text_style}, because {words.text_style_evidence}; if the model was "
        f"trained with another, choose it: --text-style ({', '.join(STYLES)})",
    )


def _shape(source: Source, config: str | Path | GPTConfig | None, heads: int | None) -> GPTConfig:
    """Return the model's whole shape, from all that is known about it."""
    if config is not None and not isinstance(config, GPTConfig):
        config = read_config(Path(config))
    known = config or source.config
    if known is None:
        known = source.dims.with_heads(known_heads(source.dims) if heads is None else heads)
    if heads is not None and heads != known.n_head:
        raise ConfigError(f"heads is {heads}, but the configuration says {known.n_head}")
    said, found = dataclasses.asdict(Dims.of(known)), dataclasses.asdict(source.dims)
    if wrong := [f"{n} {said[n]}, expected {found[n]}" for n in found if said[n] != found[n]]:
        raise ConfigError(f"the configuration does not fit the tensors: {'; '.join(wrong)}")
    if known.n_head % source.ranks:
        raise ConfigError(
            f"{known.n_head} heads cannot have been split over {source.ranks} ranks; "
            "give the model's own number of heads"
        )
    return known


def _tokenizer(directory: Path, config: GPTConfig, text_style: str | None) -> Tokenizer:
    """Return the tokenizer in a directory, which must fit the model and have a known text style."""
    tokenizer = Tokenizer.load(directory, text_style=text_style)
    if (size := tokenizer.vocab_size) != config.vocab_size:
        raise TokenizerError(
            f"the vocabulary in {directory} has {size:,} pieces, but the word embedding has "
            f"{config.vocab_size:,} rows; give the vocabulary this model was trained with"
        )
    if tokenizer.note:
        raise TokenizerError(
            f"the files in {directory} do not tell the text style, which depends on the trainer; "
            f"choose it: --text-style {' or '.join(STYLES)} (uer: [CLS] before a prompt, [SEP] "
            "ends a text; gpt2-chinese, by that project's train.py: nothing before a prompt, [SEP] "
            "is a newline, [CLS] ends a text)"
        )
    return tokenizer


def _check_space(work: Path, needed: int) -> None:
    free = shutil.disk_usage(work).free
    if free < needed:
        raise CheckpointError(
            f"the disk of {work.parent} has {free:,} bytes free; "
            f"the store needs {needed:,}: make room, or choose a smaller number format"
        )

"""Convert a checkpoint of any readable layout: read, validate, write, record.

Knows the order of these steps; does not know how a layout is stored: the readers and writers do.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

from cpm_lm.checkpoints.config_file import CONFIG, read_config
from cpm_lm.checkpoints.forms import Form, WriteJob
from cpm_lm.checkpoints.known.config_quirks import quirks, special_ids
from cpm_lm.checkpoints.known.heads import known_heads
from cpm_lm.checkpoints.layout import Dims
from cpm_lm.checkpoints.layouts.megatron_sharding import check_ranks
from cpm_lm.checkpoints.manifest import MANIFEST, Manifest, tool_version
from cpm_lm.checkpoints.options import ConvertOptions
from cpm_lm.checkpoints.origin import read_records
from cpm_lm.checkpoints.quantization.formats import rounding_of, stored_bytes
from cpm_lm.checkpoints.source import Source, open_source, trimmed
from cpm_lm.checkpoints.staging import staged
from cpm_lm.choices import FormName, Layout, TextStyleName, WeightFormat, choices
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError, TokenizerError
from cpm_lm.languages import later, tr
from cpm_lm.progress import Progress, ProgressCounter
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.tokenizer.text_style import STYLES
from cpm_lm.tokenizer.text_style_files import RECORD
from cpm_lm.tokenizer.unsupported import unsupported

__all__ = ["convert"]

TRIM = later(
    "Megatron pads the embedding with rows that have no piece; give --trim-vocabulary "
    "(trim_vocabulary=True) to cut the surplus rows"
)


def convert(
    source: str | Path | Source,
    target: str | Path,
    *,
    to: FormName = ConvertOptions.to,
    weights: WeightFormat = ConvertOptions.weights,
    config: str | Path | GPTConfig | None = ConvertOptions.config,
    heads: int | None = ConvertOptions.heads,
    tokenizer: str | Path | None = ConvertOptions.tokenizer,
    text_style: TextStyleName | None = ConvertOptions.text_style,
    trim_vocabulary: bool = ConvertOptions.trim_vocabulary,
    ranks: int | None = ConvertOptions.ranks,
    layout: Layout | None = ConvertOptions.layout,
    overwrite: bool = ConvertOptions.overwrite,
    progress: Progress | None = None,
) -> Manifest:
    """Convert a checkpoint to a store, or to another form.

    The target is written to a temporary directory and renamed on success. No partial target is
    left if the process is killed or the disk is full. Peak memory is far below one layer: tensors
    are merged and written in blocks. Only "q4" holds full matrices in memory, one or two at a time.

    Args:
        source: a store in any number format; a Megatron checkpoint with any number of ranks (the
            directory with `latest_checkpointed_iteration.txt`, or that of one training step); a
            directory of Hugging Face's GPT-2 with `config.json` and weights in any file format; a
            TensorFlow SavedModel; or any of these opened by `open_source`.
        target: the directory to create.
        to: "store", "huggingface" or "megatron". For this and the other options see
            `ConvertOptions`.
        weights: "f32", "f16", "bf16", "q8" or "q4".
        config: the model's configuration, or a JSON file with it.
        heads: the number of attention heads, which shards do not record.
        tokenizer: a directory with the vocabulary; default: the source's own.
        text_style: for BERT's WordPiece, the text style; by default as the files tell.
        trim_vocabulary: cut the rows of the word embedding that have no piece.
        ranks: the number of shards for "megatron".
        layout: the directory layout for "megatron": "deepspeed" or "megatron".
        overwrite: replace an existing target, once the new one is complete.
        progress: called with the bytes done and the total.

    Returns:
        The manifest, which is also written to the target as `manifest.json`.

    Raises:
        CheckpointError: the source is incomplete or inconsistent, holds values that are not
            finite or too large for `weights`, or the target cannot be written.
        ConfigError: the configuration is unknown, disagrees with the tensors, or cannot be sharded
            over this number of ranks; or an option cannot be combined with `to`.
        TokenizerError: the vocabulary is missing, damaged or does not match the embedding; its
            files do not tell the text style, and `text_style` is None; or the model needs token
            types.
    """
    options = ConvertOptions(
        to=to,
        weights=weights,
        config=config,
        heads=heads,
        tokenizer=tokenizer,
        text_style=text_style,
        trim_vocabulary=trim_vocabulary,
        ranks=ranks,
        layout=layout,
        overwrite=overwrite,
    )
    stated = config
    if stated is not None and not isinstance(stated, GPTConfig):
        stated = read_config(Path(stated))
    if heads is None and stated is not None:
        heads = stated.n_head
    opened = source if isinstance(source, Source) else open_source(source, heads=heads)
    job = _write_job(opened, stated, options)
    result_bytes = stored_bytes(Dims.of(job.config), weights)
    total = sum(file.stat().st_size for file in opened.files) + result_bytes
    count = ProgressCounter(total, progress)
    form = options.form
    with staged(
        Path(target), overwrite=overwrite, replaceable=form.replaceable, source=opened.directory
    ) as work:
        _check_space(work, Path(target), result_bytes)
        return _write(form, job, work, count)


def _write_job(source: Source, stated: GPTConfig | None, options: ConvertOptions) -> WriteJob:
    """Validate the options, with their configuration read, against the source; return the job."""
    vocabulary = source.tokenizer if options.tokenizer is None else Path(options.tokenizer)
    style = options.text_style
    loaded = None if vocabulary is None else Tokenizer.load(vocabulary, text_style=style)
    if options.trim_vocabulary:
        source = trimmed(source, _pieces(loaded, stated))
    resolved = _resolve_config(source, stated, options.heads)
    if loaded is not None:
        _check_tokenizer(loaded, vocabulary, resolved)
    elif style is not None:
        raise ConfigError(
            "text_style is {style!r}, but there is no vocabulary; give its directory (--tokenizer)",
            style=style,
        )
    recorded = vocabulary is not None and (vocabulary / RECORD).is_file()
    style_notes = _style_notes(loaded, recorded or style is not None)
    ranks = 1 if options.ranks is None else options.ranks
    if options.to == "megatron":
        check_ranks(resolved, ranks)
    return WriteJob(
        source=source,
        config=resolved,
        weights=options.weights,
        tokenizer=vocabulary,
        text_style=loaded.text_style_record if loaded else {},
        ids=special_ids(loaded),
        notes=(
            *source.notes,
            *_quantization_notes(source),
            *style_notes,
            *_vocabulary_notes(source, vocabulary),
            *quirks(resolved, source.ids, loaded),
        ),
        ranks=ranks,
        layout=options.layout or choices(Layout)[0],
    )


def _write(form: Form, job: WriteJob, work: Path, count: ProgressCounter) -> Manifest:
    """Write all files into the new directory, the manifest last."""
    source = job.source
    written = form.write(work, job, count.add)
    sources, origin = read_records(source, count.add)
    manifest = Manifest(
        tool=tool_version(),
        layout=source.layout,
        ranks=source.ranks,
        iteration=source.iteration,
        weights=job.weights,
        parameters=job.config.parameter_count,
        sources=sources,
        files=written.files,
        rounding=rounding_of(job.weights),
        errors=written.errors,
        ignored=source.ignored,
        notes=job.notes,
        origin=origin,
    )
    text = json.dumps(manifest.to_json(), indent=2)
    (work / MANIFEST).write_text(text + "\n", "utf-8")
    return manifest


def _quantization_notes(source: Source) -> tuple[str, ...]:
    if source.packed is None:
        return ()
    return (
        tr(
            "the source's matrices are already quantized to {packed}; that error "
            "remains, and the recorded errors are relative to the quantized matrices",
            packed=source.packed,
        ),
    )


def _style_notes(tokenizer: Tokenizer | None, given: bool) -> tuple[str, ...]:
    """Return a note about an inferred text style, so that the user notices a wrong one."""
    if tokenizer is None or not tokenizer.text_style or given:
        return ()
    return (
        tr(
            "text style {text_style}, because {text_style_evidence}; if the model "
            "was trained with another, choose it: --text-style ({styles})",
            text_style=tokenizer.text_style,
            text_style_evidence=tokenizer.text_style_evidence,
            styles=", ".join(STYLES),
        ),
    )


def _resolve_config(source: Source, config: GPTConfig | None, heads: int | None) -> GPTConfig:
    """Return the configuration from the options, else from the source, else from a known width.

    Raises:
        ConfigError: no number of heads is known, or the configuration disagrees with the tensors.
    """
    known = config or source.config
    if known is not None and source.trimmed and known.vocab_size > source.dims.vocab_size:
        known = dataclasses.replace(known, vocab_size=source.dims.vocab_size)
    if known is None and heads is None and source.layout == "huggingface":
        raise ConfigError(
            "no {config} lies beside {source_files}; give the model's configuration "
            "(--config), or its number of heads (--heads) if the rest of it is "
            "CPM's: the tanh form of GELU and an epsilon of 1e-5",
            config=CONFIG,
            source_files=source.files[0],
        )
    heads = source.heads if heads is None else heads
    if known is None:
        known = source.dims.with_heads(known_heads(source.dims) if heads is None else heads)
    if heads is not None and heads != known.n_head:
        raise ConfigError(
            "heads is {heads}, but the configuration says {n_head}",
            heads=heads,
            n_head=known.n_head,
        )
    if source.heads not in (None, known.n_head):
        raise ConfigError(
            "n_head is {n_head}, but the files keep queries, keys and values by "
            "head, and were read with {heads} heads; open them with the model's own "
            "number",
            n_head=known.n_head,
            heads=source.heads,
        )
    stated, found = dataclasses.asdict(Dims.of(known)), dataclasses.asdict(source.dims)
    if wrong := [
        tr("{n} {stated}, expected {found}", n=n, stated=stated[n], found=found[n])
        for n in found
        if stated[n] != found[n]
    ]:
        padded = stated["vocab_size"] < found["vocab_size"] and len(wrong) == 1
        raise ConfigError(
            "the configuration does not match the tensors: {wrong}{hint}",
            wrong="; ".join(wrong),
            hint=tr("; {trim}", trim=tr(TRIM)) if padded else "",
        )
    if known.n_head % source.ranks:
        raise ConfigError(
            "{n_head} heads cannot have been split over {ranks} ranks; give the "
            "model's own number of heads",
            n_head=known.n_head,
            ranks=source.ranks,
        )
    return known


def _check_tokenizer(tokenizer: Tokenizer, directory: Path | None, config: GPTConfig) -> None:
    """Refuse a tokenizer of unknown text style, or with another vocabulary size than the model."""
    if (size := tokenizer.vocab_size) != config.vocab_size:
        raise TokenizerError(
            "the vocabulary in {directory} has {size:,} pieces, but the word "
            "embedding has {vocab_size:,} rows; give the vocabulary this model was "
            "trained with{hint}",
            directory=directory,
            size=size,
            vocab_size=config.vocab_size,
            hint=(
                tr(", or if this is it: {trim}", trim=tr(TRIM)) if size < config.vocab_size else ""
            ),
        )
    if tokenizer.note:
        raise TokenizerError(
            "the files in {directory} do not tell the text style, which depends on "
            "the trainer; choose it: --text-style {styles} (uer: [CLS] before a "
            "prompt, [SEP] ends a text; gpt2-chinese, by that project's train.py: "
            "nothing before a prompt, [SEP] is a newline, [CLS] ends a text)",
            directory=directory,
            styles=" or ".join(STYLES),
        )


def _pieces(tokenizer: Tokenizer | None, stated: GPTConfig | None) -> int:
    """Return the number of pieces to which the word embedding is to be cut."""
    if tokenizer is not None:
        return tokenizer.vocab_size
    if stated is None:
        raise ConfigError(
            "--trim-vocabulary needs the number of pieces: give the vocabulary (--tokenizer) or a "
            "configuration that says it (--config)"
        )
    return stated.vocab_size


def _vocabulary_notes(source: Source, vocabulary: Path | None) -> tuple[str, ...]:
    """Return a note if the files of a vocabulary lie beside the weights that no family reads."""
    if vocabulary is not None or (what := unsupported(source.directory)) is None:
        return ()
    return (tr("the vocabulary beside the weights is {what}: what is written has none", what=what),)


def _check_space(work: Path, target: Path, needed: int) -> None:
    free = shutil.disk_usage(work).free
    if free < needed:
        raise CheckpointError(
            "the disk of {parent} has {free:,} bytes free; the store needs "
            "{needed:,}: make room, or choose a smaller number format",
            parent=target.absolute().parent,
            free=free,
            needed=needed,
        )

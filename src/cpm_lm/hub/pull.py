"""Pull a published model by name: fetch it, convert it, verify it.

Knows the order of the three steps; does not know how each works.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.forms import form_named
from cpm_lm.checkpoints.known.text_styles import published_style
from cpm_lm.checkpoints.manifest import Manifest
from cpm_lm.checkpoints.named import new_model
from cpm_lm.checkpoints.source import Source, open_source
from cpm_lm.choices import EngineName, TextStyleName, WeightFormat
from cpm_lm.display import fields_on_a_line
from cpm_lm.engines.opening import own_weights
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import CheckpointError
from cpm_lm.hub.fetch import Fetched, fetch, full_name
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.verify import Verification, verify

__all__ = ["Pulled", "pull"]

MIN_SIZE_RATIO = {None: 1.0, "f32": 1.0, "q8": 0.25, "q4": 0.14}
"""A lower bound of the result's size by number format, as a share of the fetched weights. For 16
bits it is 0.5."""


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """The result of `pull`: the fetched files, the new store, and its verification."""

    fetched: Fetched
    target: Path
    manifest: Manifest
    verification: Verification

    __repr__ = fields_on_a_line


def pull(
    name: str,
    output: str | Path | None = None,
    *,
    weights: WeightFormat | None = None,
    revision: str = "main",
    text_style: TextStyleName | None = None,
    overwrite: bool = False,
    engine: EngineName = EngineOptions.engine,
    threads: int | None = EngineOptions.threads,
    progress: Callable[[str, int, int], None] | None = None,
) -> Pulled:
    """Fetch a model from the Hugging Face hub or a mirror, convert it and verify the result.

    The fetched files stay in the hub's cache (below HF_HOME), so that nothing is fetched twice. An
    interrupted download is resumed.

    Args:
        name: a known model, with or without its owner, or any other `owner/name`.
        output: the directory to create; default: the name without its owner, in the home of
            models (see `cpm_lm.home`), where `load` finds it by that name.
        weights: the number format; default: that of the published files.
        revision: a branch, a tag or a commit.
        text_style: see `ConvertOptions`.
        overwrite: replace an existing store.
        engine: the engine that computes the loss, see `open_engine`.
        threads: the number of threads of the engine.
        progress: called with "fetch", "convert" or "verify", the bytes done and the total.

    Raises:
        CheckpointError: see `fetch` and `convert`; or the target exists.
        ConfigError: `name`, `weights` or `text_style` is unknown, or there is a file in the place
            of the home.
        TokenizerError: see `convert`.
        EngineError: huggingface_hub is not installed, or the engine cannot run.
    """
    name = full_name(name)
    target = new_model(name.split("/")[1]) if output is None else Path(output)
    if weights is not None:
        form_named("store", weights)
    if not overwrite and target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise CheckpointError(
            "{target} exists already; choose another name, or overwrite it (--overwrite)",
            target=target,
        )

    def stage_progress(stage: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(stage, done, total)

    fetched = fetch(
        name,
        revision=revision,
        reserve=lambda size: (target, int(size * MIN_SIZE_RATIO.get(weights, 0.5))),
        progress=stage_progress("fetch"),
    )
    origin = f"{fetched.name}@{fetched.commit}"
    source = replace(open_source(fetched.directory), origin=origin)
    manifest = convert(
        source,
        target,
        weights=weights or own_weights(source),
        text_style=text_style or _known_style(name, source),
        overwrite=overwrite,
        progress=stage_progress("convert"),
    )
    verification = verify(target, engine=engine, threads=threads, progress=stage_progress("verify"))
    return Pulled(fetched=fetched, target=target, manifest=manifest, verification=verification)


def _known_style(name: str, source: Source) -> TextStyleName | None:
    """Return the publisher's text style, if it is known and the files do not tell one."""
    if source.tokenizer is None or not Tokenizer.load(source.tokenizer).note:
        return None
    return cast("TextStyleName | None", published_style(name))

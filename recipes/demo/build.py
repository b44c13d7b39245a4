"""Convert a trained Keras model to the store in the package."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import cpm_lm
from cpm_lm.checkpoints.config_file import CONFIG
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.known import published
from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.store import MODEL
from cpm_lm.checkpoints.source import open_source
from cpm_lm.gpt.load import variables
from recipes.demo.settings import Settings

__all__ = ["PACKAGED", "build", "save"]

PACKAGED = Path(cpm_lm.__file__).parent / "demo"
"""The directory of the model in the package."""


def save(model: Any, directory: Path) -> None:
    """Write a Keras model's weights as a store without tokenizer; replace the old ones."""
    directory.mkdir(exist_ok=True)
    shape = shapes(Dims.of(model.config))
    tensors = {
        name: np.asarray(variable, np.float32).reshape(shape[name])
        for name, variable in variables(model).items()
    }
    config = json.dumps(model.config.to_json(), indent=2)
    (directory / CONFIG).write_text(config + "\n", "utf-8")
    save_file(tensors, directory / "partial", metadata={"format": "pt"})
    (directory / "partial").replace(directory / MODEL)


def build(work: Path, settings: Settings) -> dict[str, Any]:
    """Convert the trained model, and copy it into the package beside its card."""
    manifest = convert(
        replace(open_source(work / "trained"), origin=published.PACKAGED),
        work / "store",
        weights=settings.stored_as,
        tokenizer=work / "tokenizer",
        overwrite=True,
    )
    PACKAGED.mkdir(exist_ok=True)
    for file in (work / "store").iterdir():
        shutil.copyfile(file, PACKAGED / file.name)
    return {
        "parameters": manifest.parameters,
        "bytes": sum(file.stat().st_size for file in PACKAGED.iterdir()),
    }

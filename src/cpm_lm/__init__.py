"""Run CPM-LM, the Chinese GPT of 2.6 billion parameters, and similar models.

    import cpm_lm

    model = cpm_lm.load()  # the small model in the package
    for sample in model.sample("今天天气不错", n=3):
        print(sample.text)

Importing this package imports neither TensorFlow, nor JAX, nor PyTorch. The names are imported
when they are first used, so that the command line is ready for Ctrl-C before anything takes time.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # `typing` takes time, too
if TYPE_CHECKING:
    from typing import Any

    from cpm_lm.checkpoints.convert import convert
    from cpm_lm.checkpoints.manifest import Manifest
    from cpm_lm.config import GPTConfig
    from cpm_lm.engines.base import Engine, Session
    from cpm_lm.engines.forest import chain
    from cpm_lm.engines.select import open_engine
    from cpm_lm.engines.wants import Draws, Logits, LogProbs
    from cpm_lm.errors import (
        CapacityError,
        CheckpointError,
        ConfigError,
        CpmError,
        EngineError,
        RequestError,
        TokenizerError,
    )
    from cpm_lm.gpt.export import export
    from cpm_lm.gpt.load import keras_model
    from cpm_lm.hub.pull import pull
    from cpm_lm.model import DEMO, Model, NextToken, Sample, Vote, load
    from cpm_lm.tokenizer import Tokenizer
    from cpm_lm.verification.verify import Verification, verify

__all__ = [
    "DEMO",
    "CapacityError",
    "CheckpointError",
    "ConfigError",
    "CpmError",
    "Draws",
    "Engine",
    "EngineError",
    "GPTConfig",
    "LogProbs",
    "Logits",
    "Manifest",
    "Model",
    "NextToken",
    "RequestError",
    "Sample",
    "Session",
    "Tokenizer",
    "TokenizerError",
    "Verification",
    "Vote",
    "chain",
    "convert",
    "export",
    "keras_model",
    "load",
    "open_engine",
    "pull",
    "verify",
]

_HOMES = {
    "checkpoints.convert": ("convert",),
    "checkpoints.manifest": ("Manifest",),
    "config": ("GPTConfig",),
    "engines.base": ("Engine", "Session"),
    "engines.forest": ("chain",),
    "engines.select": ("open_engine",),
    "engines.wants": ("Draws", "LogProbs", "Logits"),
    "errors": tuple(name for name in __all__ if name.endswith("Error")),
    "gpt.export": ("export",),
    "gpt.load": ("keras_model",),
    "hub.pull": ("pull",),
    "model": ("DEMO", "Model", "NextToken", "Sample", "Vote", "load"),
    "tokenizer": ("Tokenizer",),
    "verification.verify": ("Verification", "verify"),
}
"""The public names of each module."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(import_module(f"cpm_lm.{home}"), name)
            globals()[name] = value
            return value
        if name == home.partition(".")[0]:  # `import cpm_lm; cpm_lm.engines.select`, as ever
            return import_module(f"cpm_lm.{home}") if name == home else _package(name)
    raise AttributeError(f"module 'cpm_lm' has no attribute {name!r}")


def _package(name: str) -> Any:
    """Import the modules of a package that have public names, and return the package."""
    for home in _HOMES:
        if home.startswith(f"{name}."):
            import_module(f"cpm_lm.{home}")
    return import_module(f"cpm_lm.{name}")


def __dir__() -> list[str]:
    """Return the public names too, before they are imported."""
    return sorted({*globals(), *__all__})

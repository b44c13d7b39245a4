"""Run CPM-LM, the Chinese GPT of 2.6 billion parameters, and similar models.

    import cpm_lm

    model = cpm_lm.load()  # the small model in the package
    for sample in model.sample("今天天气不错", n=3):
        print(sample.text)

Importing this package imports neither TensorFlow, nor JAX, nor PyTorch. A public name is imported
when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes time, and Ctrl-C must work from the first moment
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
    from cpm_lm.evaluation.result import Result
    from cpm_lm.evaluation.run import evaluate
    from cpm_lm.generation.perplexity import Perplexity
    from cpm_lm.generation.presets import preset
    from cpm_lm.generation.scoring import Score
    from cpm_lm.gpt.export import export
    from cpm_lm.gpt.load import keras_model
    from cpm_lm.hub.pull import pull
    from cpm_lm.model import DEMO, Model, NextCharacter, NextToken, Sample, Vote, load
    from cpm_lm.tokenizer import Tokenizer
    from cpm_lm.verification.verify import Verification, verify

    __version__: str

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
    "NextCharacter",
    "NextToken",
    "Perplexity",
    "RequestError",
    "Result",
    "Sample",
    "Score",
    "Session",
    "Tokenizer",
    "TokenizerError",
    "Verification",
    "Vote",
    "chain",
    "convert",
    "evaluate",
    "export",
    "keras_model",
    "load",
    "open_engine",
    "preset",
    "pull",
    "verify",
]

# The same names by the module that has them; a test compares this with the imports above.
_MODULES = {
    "cpm_lm.checkpoints.convert": ("convert",),
    "cpm_lm.checkpoints.manifest": ("Manifest",),
    "cpm_lm.config": ("GPTConfig",),
    "cpm_lm.engines.base": ("Engine", "Session"),
    "cpm_lm.engines.forest": ("chain",),
    "cpm_lm.engines.select": ("open_engine",),
    "cpm_lm.engines.wants": ("Draws", "LogProbs", "Logits"),
    "cpm_lm.errors": (
        "CapacityError",
        "CheckpointError",
        "ConfigError",
        "CpmError",
        "EngineError",
        "RequestError",
        "TokenizerError",
    ),
    "cpm_lm.evaluation.result": ("Result",),
    "cpm_lm.evaluation.run": ("evaluate",),
    "cpm_lm.generation.perplexity": ("Perplexity",),
    "cpm_lm.generation.presets": ("preset",),
    "cpm_lm.generation.scoring": ("Score",),
    "cpm_lm.gpt.export": ("export",),
    "cpm_lm.gpt.load": ("keras_model",),
    "cpm_lm.hub.pull": ("pull",),
    "cpm_lm.model": ("DEMO", "Model", "NextCharacter", "NextToken", "Sample", "Vote", "load"),
    "cpm_lm.tokenizer": ("Tokenizer",),
    "cpm_lm.verification.verify": ("Verification", "verify"),
}

if not TYPE_CHECKING:  # with it, a type checker would accept every name

    def __getattr__(name: str) -> Any:
        """Import a public name, the version or a submodule when it is first used."""
        import importlib

        if name == "__version__":
            value: Any = importlib.import_module("cpm_lm.installation").version()
        elif found := [module for module, names in _MODULES.items() if name in names]:
            value = getattr(importlib.import_module(found[0]), name)
        else:
            try:
                if name.startswith("_"):
                    raise ModuleNotFoundError(name=f"{__name__}.{name}")
                return importlib.import_module(f"{__name__}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{__name__}.{name}":  # the submodule exists, but needs another
                    raise
                message = f"module {__name__!r} has no attribute {name!r}"
                raise AttributeError(message, name=name) from None
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Return the public names, also those that have not been used yet."""
        return sorted({*globals(), *__all__, "__version__"})

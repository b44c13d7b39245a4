"""Run CPM-LM, the Chinese GPT of 2.6 billion parameters, and similar models.

    import cpm_lm

    model = cpm_lm.load()  # the small model in the package
    for sample in model.sample("今天天气不错", n=3):
        print(sample.text)

Importing this package imports neither TensorFlow, nor JAX, nor PyTorch.
"""

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

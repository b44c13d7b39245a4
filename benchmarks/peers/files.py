"""One random model in the formats that the implementations read, each written on first use.

Knows shapes and files; runs no model.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from cpm_lm.checkpoints.dtypes import WEIGHTS
from cpm_lm.checkpoints.layout import Dims, shapes
from cpm_lm.checkpoints.layouts.store import Store, write_model
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.config import GPTConfig

__all__ = ["Files", "Random", "convert"]


class Random(Mapping[str, ShardedTensor]):
    """Random weights by name, computed at each access; equal seeds give equal weights.

    They are scaled so that logits have a deviation of about 1 and depend on every layer. Biases and
    norms are random too, so that omitting one changes the logits.
    """

    def __init__(self, config: GPTConfig, seed: int) -> None:
        self.shapes, self.seed = shapes(Dims.of(config)), seed

    def __getitem__(self, name: str) -> ShardedTensor:
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        shape = self.shapes[name]
        values = rng.standard_normal(shape, np.float32)
        if len(shape) == 2:
            values *= shape[1 if name.startswith("w") else 0] ** -0.5
        else:
            values *= 0.1
            values += 1.0 if "ln_" in name and name.endswith("weight") else 0.0
        return ShardedTensor((Tensor(values, "F32"),))

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def convert(source: Path, target: Path, weights: str) -> None:
    """Write a store in another number format, as `cpm convert` does.

    Raises:
        RuntimeError: this package cannot write it.
    """
    done = subprocess.run(
        [sys.executable, "-m", "cpm_lm", "convert", source, target, "--weights", weights],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])


class Files:
    """A directory with one model in many formats.

    Args:
        directory: of the files; made if it does not exist.
        config: the model's shape, written on the first use and read later.
        seed: of the weights.
    """

    def __init__(self, directory: Path, config: GPTConfig | None = None, seed: int = 0) -> None:
        self.directory, page = directory, directory / "shape.json"
        if config is None:
            self.config = GPTConfig.from_json(json.loads(page.read_text()))
        else:
            self.config = config
            directory.mkdir(parents=True, exist_ok=True)
            page.write_text(json.dumps(config.to_json()))
        self.weights = Random(self.config, seed)

    @cached_property
    def f32(self) -> Store:
        """The float32 store, opened."""
        return Store.open(self.store("f32"))

    def make(self, name: str, write: Callable[[Path], object]) -> Path:
        """Return a file or directory; if it does not exist, write it, complete or not at all."""
        path = self.directory / name
        if not path.exists():
            unfinished = path.with_name(path.name + ".unfinished")
            write(unfinished)
            unfinished.rename(path)
        return path

    def store(self, weights: str) -> Path:
        """Return a store of a number format.

        Raises:
            RuntimeError: this package cannot write it.
        """

        def write(path: Path) -> None:
            if weights in WEIGHTS:
                path.mkdir(exist_ok=True)
                write_model(path, self.config, self.weights, weights)
                return
            convert(self.store("f32"), path, weights)

        return self.make(f"store-{weights}", write)

"""The tiny checkpoints of the original, as stores and as engines on the backend under test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.choices import EngineName
from cpm_lm.engines.keras.engine import KerasEngine
from cpm_lm.engines.select import open_engine

BACKEND = os.environ.get("CPM_TEST_ENGINE", "tensorflow")
os.environ["KERAS_BACKEND"] = BACKEND  # before the tests import Keras
NAMES = sorted(
    path.parent.name
    for path in (Path(__file__).parents[2] / "data" / "checkpoints").glob("*/reference.npz")
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "checkpoint" in metafunc.fixturenames:
        metafunc.parametrize("checkpoint", NAMES, scope="session")


@pytest.fixture(scope="session")
def backend() -> str:
    return BACKEND


@pytest.fixture(scope="session")
def stores(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every checkpoint, converted to a float32 store."""
    root = tmp_path_factory.mktemp("stores")
    made = {}
    for name in NAMES:
        heads = json.loads(str(expected(checkpoints, name)["config"]))["num_attention_heads"]
        convert(checkpoints / name, root / name, heads=heads)
        made[name] = root / name
    return made


@pytest.fixture(scope="session", autouse=True)
def compile_once(backend: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Let JAX reuse compiled programs for models of the same shape."""
    if backend == "jax":
        import jax

        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(scope="session")
def tiny(stores: dict[str, Path]) -> Path:
    return stores["tiny-mp1"]


@pytest.fixture(scope="session")
def engine(tiny: Path, backend: EngineName) -> KerasEngine:
    opened = open_engine(tiny, engine=backend)
    assert isinstance(opened, KerasEngine)
    return opened


@pytest.fixture(scope="session")
def reference(checkpoints: Path) -> dict[str, Any]:
    """What the original computes with the weights of `tiny`."""
    return expected(checkpoints, "tiny-mp1")


def expected(checkpoints: Path, name: str) -> dict[str, Any]:
    with np.load(checkpoints / name / "reference.npz") as arrays:
        return dict(arrays)

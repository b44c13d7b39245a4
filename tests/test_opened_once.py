"""Every function opens and validates a store once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cpm_lm
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.choices import EngineName
from cpm_lm.evaluation.divergence import compare
from cpm_lm.model import DEMO

WRITTEN = Path(__file__).parent / "data" / "written-by-0.1" / "f32"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The list of opened directories."""
    found: list[str] = []
    original = Store.open.__func__  # type: ignore[attr-defined]

    def counted(cls: type[Store], directory: Any) -> Store:
        found.append(Path(directory).name)
        return original(cls, directory)

    monkeypatch.setattr(Store, "open", classmethod(counted))
    return found


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_load_and_open_engine_open_a_store_once(engine: EngineName, opened: list[str]) -> None:
    cpm_lm.load(DEMO, engine=engine)
    cpm_lm.open_engine(WRITTEN, engine=engine)
    assert opened == ["demo", "f32"]


@pytest.mark.keras
def test_a_keras_engine_opens_a_store_once(opened: list[str]) -> None:
    import keras

    cpm_lm.open_engine(WRITTEN, engine=keras.config.backend())
    cpm_lm.keras_model(WRITTEN)
    assert opened == ["f32", "f32"]


def test_verify_and_compare_open_a_store_once(opened: list[str], tmp_path: Path) -> None:
    assert not cpm_lm.verify(DEMO, against=DEMO, engine="reference").problems
    assert opened == ["demo", "demo"], "each of the two models once"
    opened.clear()
    compare(DEMO, DEMO, "今天的天空很蓝。", engine="reference")
    assert opened == ["demo", "demo"]


def test_convert_opens_a_store_once(opened: list[str], tmp_path: Path) -> None:
    cpm_lm.convert(WRITTEN, tmp_path / "again", weights="f16")
    assert opened == ["f32"]

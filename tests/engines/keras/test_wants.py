"""Wants on the Keras engines, whose logits come to the host."""

from __future__ import annotations

import pytest

from tests.support.engine_contract import EngineContract


@pytest.mark.keras
class TestKeras(EngineContract):
    tolerance = 1e-4

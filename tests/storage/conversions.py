"""What the fault injector runs: a conversion that replaces a store by another."""

from __future__ import annotations

from pathlib import Path

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.integrity import check_file, read_manifest
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.choices import WeightFormat
from tests.support.faults import Scenario

SOURCE = Path(__file__).parents[1] / "data" / "checkpoints" / "tiny-mp2"


def convert_tiny(home: Path, weights: WeightFormat = "q8") -> None:
    convert(SOURCE, home / "store", weights=weights, heads=4, overwrite=True)


def holds(home: Path, weights: WeightFormat) -> bool:
    """Every file of the store is whole: its digest is that of the manifest."""
    store = Store.open(home / "store")
    record = read_manifest(home / "store")
    assert record is not None
    whole = all(check_file(home / "store", file).problem is None for file in record.files)
    return whole and store.weights == weights


converted_store = Scenario(
    prepare=lambda home: convert_tiny(home, "bf16"),
    act=convert_tiny,
    is_old=lambda home: holds(home, "bf16"),
    is_new=lambda home: holds(home, "q8"),
    names=frozenset({"store"}),
)

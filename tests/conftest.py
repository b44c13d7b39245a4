"""Where the test data lies, and what is left out, loudly, when part of it is missing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

from tests.support.examples import examples

# Shapes in signatures are checked at run time, but only here: users pay nothing for them.
install_import_hook("cpm_lm", "beartype.beartype")

# A busy machine is slow now and then; that is no failure.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=examples())
hypothesis.settings.load_profile("patient")

# Keras has one backend per process; it is named before any test imports Keras.
os.environ["KERAS_BACKEND"] = os.environ.get("CPM_TEST_ENGINE", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# A run in the background of a shell ignores Ctrl-C, and its children would inherit that: the tests
# that interrupt a program would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("CPM_TEST_DATA", ROOT / "../shared/data"))
LEFT_OUT: list[str] = []


@pytest.hookimpl(tryfirst=True)  # before markers are selected by
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot run here; in CI nothing is left out, so that it fails instead."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("law")
    if os.environ.get("CI"):
        return
    keep = []
    for item in items:
        lacking = "data" if item.get_closest_marker("data") and not SHARED.is_dir() else None
        if lacking:
            LEFT_OUT.append(lacking)
        else:
            keep.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests were left out, and how to run them."""
    if LEFT_OUT:
        terminalreporter.write_sep("=", "left out", yellow=True)
        terminalreporter.write_line(
            f"{len(LEFT_OUT)} tests were left out: the test data is not at {SHARED}; "
            "set CPM_TEST_DATA to its directory to run them"
        )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The directory of vocabularies, golden ids, tasks and corpora (mark the test `data`)."""
    if not SHARED.is_dir():
        pytest.fail(f"the test data is not at {SHARED}; set CPM_TEST_DATA to its directory")
    return SHARED


@pytest.fixture(scope="session")
def checkpoints() -> Path:
    """The reference checkpoints, made by the original code, that are committed here."""
    return ROOT / "tests" / "data" / "checkpoints"

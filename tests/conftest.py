"""The test data, and a report of the tests that are skipped without it."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

from tests.support import typechecker
from tests.support.examples import examples

# Shapes in signatures are checked at run time, but only in the tests.
install_import_hook("cpm_lm", f"{typechecker.__name__}.check")

# A slow example on a busy machine is not a failure.
hypothesis.settings.register_profile("patient", deadline=None, max_examples=examples())
hypothesis.settings.load_profile("patient")

# Keras has one backend per process; it is set before any test imports Keras.
os.environ["KERAS_BACKEND"] = os.environ.get("CPM_TEST_ENGINE", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# No test reads or writes the models of the user who runs it.
os.environ["CPM_HOME"] = tempfile.mkdtemp(prefix="cpm-home-")
atexit.register(shutil.rmtree, os.environ["CPM_HOME"], ignore_errors=True)

# The tests read the English messages; those of the languages say what they want.
os.environ["CPM_LANG"] = "en"

# A shell makes background processes ignore SIGINT, and their children inherit that: the tests that
# interrupt a program would wait forever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("CPM_TEST_DATA", ROOT / "../shared/data"))
DESELECTED: list[str] = []


@pytest.hookimpl(tryfirst=True)  # before markers are selected by
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that cannot run here; in CI none is deselected, so that they fail."""
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("law")
    if os.environ.get("CI"):
        return
    keep = []
    for item in items:
        lacking = "data" if item.get_closest_marker("data") and not SHARED.is_dir() else None
        if lacking:
            DESELECTED.append(lacking)
        else:
            keep.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in keep])
    items[:] = keep


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests were deselected, and how to run them."""
    if DESELECTED:
        terminalreporter.write_sep("=", "deselected", yellow=True)
        terminalreporter.write_line(
            f"{len(DESELECTED)} tests were deselected: the test data is not at {SHARED}; "
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
    """The committed reference checkpoints, which the original code wrote."""
    return ROOT / "tests" / "data" / "checkpoints"

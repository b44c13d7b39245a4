"""The few-shot curves of examples/evaluate.py, and the notebook that draws the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import cpm_lm
from examples import evaluate

ROOT = Path(__file__).parent.parent


def test_a_curve_has_a_point_for_each_number_of_shots() -> None:
    measured = evaluate.curves(None, shots=(0, 4), limit=6, seed=1)
    assert list(measured) == ["arithmetic"]
    for shots, result in zip((0, 4), measured["arithmetic"], strict=True):
        with cpm_lm.load() as model:
            own = cpm_lm.evaluate(model, "arithmetic", shots=shots, limit=6, seed=1)
        assert result == own
        assert f"{own.value:.1%} ± " in evaluate.table(measured)


def test_the_command_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "curves.png"
    words = ["evaluate.py", "--limit", "2", "--plot", str(picture)]
    monkeypatch.setattr(sys, "argv", words)
    evaluate.main()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["shots", "0", "1", "2", "4", "8", "chance"]
    assert printed[-1].endswith("tnews, eprstmt")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("data", [False, pytest.param(True, marks=pytest.mark.data)])
def test_the_notebook_runs(
    data: bool, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Its table is that of the example; the arithmetic alone needs no data."""
    import nbformat
    from nbclient import NotebookClient

    where = request.getfixturevalue("shared_data") / "tasks" if data else None
    if data:
        monkeypatch.setenv("CPM_TASKS", str(where))
    else:
        monkeypatch.delenv("CPM_TASKS", raising=False)
    monkeypatch.setenv("CPM_ITEMS", "2")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook: Any = nbformat.read(ROOT / "examples/evaluate.ipynb", as_version=4)
    folder = {"metadata": {"path": str(ROOT / "examples")}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=folder).execute()
    setting, measuring, drawing = (cell for cell in notebook.cells if cell.cell_type == "code")
    said = "".join(output.get("text", "") for output in setting.outputs)
    assert ("left out, for want of data: tnews eprstmt" in said) != data
    printed = "".join(output.get("text", "") for output in measuring.outputs)
    assert printed == evaluate.table(evaluate.curves(where, limit=2)) + "\n"
    assert any("image/png" in output.get("data", {}) for output in drawing.outputs)

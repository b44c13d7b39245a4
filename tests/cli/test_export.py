from __future__ import annotations

from pathlib import Path

from tests.support.running import Run


def test_export_prints_a_summary(run: Run, store: Path, tmp_path: Path) -> None:
    result = run("export", store, tmp_path / "out", "--format", "saved-model", "--weights", "f16")
    assert f"{tmp_path / 'out'}: " in result.stdout
    assert "f16" in result.stdout
    assert (tmp_path / "out" / "saved_model.pb").is_file()
    again = run("export", store, tmp_path / "out", "--format", "saved-model", code=1)
    assert again.stderr.startswith("cpm: ")
    assert again.stderr.count("\n") == 1
    assert "exists already" in again.stderr


def test_export_writes_a_keras_file(run: Run, store: Path, tmp_path: Path) -> None:
    run("export", store, tmp_path / "out.keras", "--format", "keras")
    assert (tmp_path / "out.keras").read_bytes()[:2] == b"PK"
    refused = run("export", store, tmp_path / "b.keras", "--format", "keras", "--short", code=1)
    assert "saved-model" in refused.stderr


def test_export_refuses_an_unknown_format(run: Run, store: Path, tmp_path: Path) -> None:
    run("export", store, tmp_path / "out", code=2)
    run("export", store, tmp_path / "out", "--format", "onnx", code=2)
    assert not list(tmp_path.iterdir())

"""The output of `cpm bench`; speed is not tested."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tests.support.running import Run, parsed

KEYS = """
cpus float32_operations_per_second instruction_set model processor python read_bytes_per_second
steps system threads version weight_bytes
""".split()
STEP = "name rows seconds tokens_per_second rounds of_bandwidth of_peak of_python".split()


def test_the_report_in_json(run: Run, store: Path) -> None:
    found = parsed(run("bench", "-m", store, "--threads", 1, "--seconds", 0, "--json"))
    assert sorted(found) == KEYS
    assert (found["threads"], found["python"]) == (1, platform.python_version())
    assert (found["model"]["n_embd"], found["model"]["weights"]) == (16, "f32")
    matrices = found["model"]["vocab_size"] * 16 + 2 * 12 * 16 * 16
    assert found["weight_bytes"] == 4 * matrices
    assert 1e8 < found["read_bytes_per_second"] < 1e13
    assert 1e8 < found["float32_operations_per_second"] < 1e14
    names = {step["name"]: step for step in found["steps"]}
    assert list(names) == ["decode-1", "decode-32", "prefill-64"]  # limited by 64 positions
    for step in found["steps"]:
        assert list(step) == STEP
        assert step["rounds"] >= 3
        assert step["tokens_per_second"] == pytest.approx(step["rows"] / step["seconds"])
        assert 0 < step["of_python"] <= 1
    one, many = names["decode-1"], names["decode-32"]
    ratio = many["of_peak"] / one["of_peak"] * many["seconds"] / one["seconds"]
    assert ratio == pytest.approx(32)


def test_the_report_as_text(run: Run, store: Path) -> None:
    text = run("bench", "-m", store, "--seconds", 0).stdout
    for part in ("GB/s", "GFLOP/s", "decode-32", "prefill-64", platform.python_version(), "f32"):
        assert part in text
    assert max(map(len, text.splitlines())) < 200


def test_a_missing_store_and_bad_threads_are_refused(run: Run, tmp_path: Path) -> None:
    assert run("bench", "-m", tmp_path, code=1).stderr.startswith("cpm: ")
    run("bench", "--threads", 0, code=2)
    assert "1 to 1024" in run("bench", "--threads", 5000, code=1).stderr
    run("bench", "--seconds", -1, code=2)


def test_bench_without_kernels_is_refused(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "cpm_lm.engines.native.engine", raising=False)
    monkeypatch.setitem(sys.modules, "cpm_lm._native", None)
    monkeypatch.delattr("cpm_lm._native", raising=False)
    error = run("bench", "-m", store, code=1).stderr
    assert "CPM_NO_NATIVE" in error
    assert error.count("\n") == 1

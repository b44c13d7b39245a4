from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.running import Run, parsed

ENGINE = ("--engine", "reference")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("今天天气很好,我们去看电影。", "utf-8")
    return tmp_path / "text.txt"


def test_a_model_is_compared_with_its_4_bit_version(
    run: Run, store: Path, text: Path, tmp_path: Path
) -> None:
    made = run("convert", store, tmp_path / "q4", "--weights", "q4").stdout
    assert ", q4," in made
    words = ("compare", store, tmp_path / "q4", "--text", text, *ENGINE)
    printed = run(*words).stdout
    assert "f32, q4" in printed
    assert "KL" in printed
    found = parsed(run(*words, "--json"))
    assert 0 < found["mean_kl"] <= found["worst_kl"]
    assert found["tokens"] > 3
    assert found["second"] == str(tmp_path / "q4")
    assert "q4" in run("inspect", tmp_path / "q4").stdout


def test_errors_are_one_line(run: Run, store: Path, text: Path, tmp_path: Path) -> None:
    for words in (
        ("compare", store, tmp_path / "nothing", "--text", text),
        ("convert", store, tmp_path / "new", "--weights", "q8", "--to", "megatron"),
    ):
        assert run(*words, code=1).stderr.count("\n") == 1
    text.write_bytes("今天天气很好".encode("gb18030"))
    refused = run("compare", store, store, "--text", text, code=1).stderr
    assert "text.txt is not UTF-8" in refused
    assert "iconv -f gb18030" in refused
    assert refused.count("\n") == 1
    run("compare", store, store, code=2)

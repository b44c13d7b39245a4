"""`cpm list`, `show` and `remove`, and verbs that take a model's name."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cpm_lm.checkpoints.known.releases import PACKAGED, known_release
from cpm_lm.cli.bars import columns
from cpm_lm.model import DEMO
from tests.support.running import Run, parsed

OLD = Path(__file__).parent.parent / "data" / "written-by-0.1"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Path) -> Path:
    """A home with a model, `tiny`."""
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
    shutil.copytree(store, tmp_path / "home" / "models" / "tiny")
    return tmp_path / "home" / "models"


def test_the_built_in_model_has_a_name_and_a_release(run: Run, tmp_path: Path) -> None:
    # It was described as an unknown release.
    assert "demo" in run("list").stdout
    assert f"release: {PACKAGED.name}" in run("inspect", "demo").stdout
    card = parsed(run("show", "demo", "--json"))
    assert (card["model"]["origin"], card["model"]["license"]) == ("cpm-lm/demo", "MIT")
    # Another format of it is another file, but of the same origin; its config.json is no weight.
    run("convert", "demo", tmp_path / "f32", "--weights", "f32")
    found = parsed(run("inspect", tmp_path / "f32", "--json"))
    assert (found["release"], found["origin"], found["warnings"]) == (None, "cpm-lm/demo", [])


def test_the_release_of_the_built_in_model_is_its_file() -> None:
    data = (DEMO / "model.safetensors").read_bytes()
    digests = hashlib.sha1(data).hexdigest(), hashlib.md5(data).hexdigest()
    assert known_release([digests]) == (PACKAGED.name, [])


def test_models_are_listed_with_what_is_wrong(run: Run, models: Path) -> None:
    shutil.copytree(OLD / "q4", models / "小模型")
    for name in ("torn", "lost", "cut"):
        shutil.copytree(OLD / "f32", models / name)
    (models / "torn" / "manifest.json").write_text('{"files": [1]}')
    (models / "lost" / "model.safetensors").unlink()
    (models / "cut" / "model.safetensors").write_bytes(b"x")
    (models / "foreign").mkdir()
    (models / "broken").symlink_to(models / "nowhere")
    (models / ".half.partial").mkdir()
    (models / "file").touch()
    found = {model["name"]: model for model in parsed(run("list", "--json"))}
    assert next(iter(found)) == "demo"
    wrong = {"torn", "lost", "cut", "foreign", "broken"}
    assert set(found) == {"demo", "tiny", "小模型"} | wrong
    assert found["demo"]["built_in"] is True
    assert (found["tiny"]["weights"], found["tiny"]["tokenizer"]) == ("f32", "CPM")
    assert (found["小模型"]["weights"], found["小模型"]["problem"]) == ("q4", None)
    assert found["tiny"]["bytes"] == sum(f.stat().st_size for f in (models / "tiny").iterdir())
    said = {name: model["problem"] for name, model in found.items() if model["problem"]}
    assert set(said) == wrong
    assert "manifest.json is damaged" in said["torn"]
    assert said["lost"] == "model.safetensors is missing"
    assert said["cut"].startswith("model.safetensors has 1 bytes")
    assert "no manifest.json" in said["foreign"]
    result = run("list")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["NAME", "FORMAT", "PARAMS", "SIZE", "TOKENIZER", "MADE"]
    assert [line for line in lines if "damaged" in line] == [
        line for line in lines if line.split()[0] in said
    ]
    formats = [(line, word) for line in lines for word in ("f32", "q4", "f16") if word in line]
    assert len(formats) == 3
    starts = {columns(line[: line.index(word)]) for line, word in formats}
    assert len(starts) == 1, "a column is aligned by display width"
    assert result.stderr.count("\n") == len(said)


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="needs a user who may not read everything"
)
def test_a_model_that_may_not_be_read_is_marked(run: Run, models: Path) -> None:
    (models / "tiny").chmod(0)
    try:
        (found,) = [m for m in parsed(run("list", "--json")) if m["name"] == "tiny"]
        assert "Permission denied" in found["problem"]
        models.chmod(0)
        assert run("list", code=1).stderr.count("\n") == 1
    finally:
        models.chmod(0o755)
        (models / "tiny").chmod(0o755)


def test_an_absent_home_has_the_built_in_model(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "absent"))
    assert [model["name"] for model in parsed(run("list", "--json"))] == ["demo"]
    assert not (tmp_path / "absent").exists()


def test_a_home_that_is_a_file_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "file"))
    for words in (["list"], ["remove", "x"], ["sample", "今", "-m", "x"], ["pull", "CPM-Generate"]):
        result = run(*words, code=1)
        assert "is a file" in result.stderr
        assert result.stderr.count("\n") == 1
    run("sample", "今", "--max-tokens", 1)  # the built-in model needs no home


def test_a_damaged_home_does_not_stop_a_verb(run: Run, models: Path) -> None:
    (models / "torn").mkdir()
    (models / "torn" / "manifest.json").write_text("[")
    assert run("sample", "今天", "-m", "tiny", "--max-tokens", 1).exit_code == 0
    assert "manifest.json cannot be read" in run("show", "torn", code=1).stderr


def test_show_prints_what_is_recorded(run: Run, models: Path) -> None:
    printed = run("show", "tiny").stdout
    manifest = (models / "tiny" / "manifest.json").read_text("utf-8")
    for record in parsed(run("show", "tiny", "--json"))["manifest"]["files"]:
        assert record["sha256"] in printed
        assert record["sha256"] in manifest
    assert "not recorded" in printed  # no origin
    assert "native" in printed  # memory
    assert "cpm inspect" in run("show", OLD, code=1).stderr


def test_every_verb_takes_a_name(run: Run, models: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("今天天气很好。" * 4, "utf-8")
    fast = ("--engine", "reference")
    run("next", "今天", "-m", "tiny", *fast)
    run("vote", "今天", "-m", "tiny", "-n", 2, "--max-tokens", 2, *fast)
    run("inspect", "tiny")
    run("verify", "tiny", "--against", "tiny", "--no-loss", *fast)
    run("compare", "tiny", "tiny", "--text", text, *fast)
    run("convert", "tiny", "--name", "half", "--weights", "f16")
    assert "half" in run("list").stdout
    assert "exists already" in run("convert", "tiny", "--name", "half", code=1).stderr
    assert "not a name" in run("convert", "tiny", "--name", "../x", code=1).stderr
    assert "--name" in run("convert", "tiny", code=2).stderr
    assert "not both" in run("convert", "tiny", tmp_path / "x", "--name", "y", code=2).stderr
    assert "cpm pull CPM-Generate" in run("next", "今", "-m", "cpm-generate", code=1).stderr
    assert "tiny" in run("inspect", "tinny", code=1).stderr


def test_remove_asks_only_on_a_terminal(run: Run, models: Path) -> None:
    result = run("remove", "tiny", code=1)
    assert "--yes" in result.stderr
    assert (models / "tiny").is_dir()
    size = sum(file.stat().st_size for file in (models / "tiny").iterdir())
    assert f"{size / 1e3:.1f} kB" in run("remove", "tiny", "--yes").stdout
    assert not (models / "tiny").exists()
    assert "demo" in run("remove", "demo", "--yes", code=1).stderr
    run("remove", code=2)


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
@pytest.mark.parametrize("answer", ["y", "n"])
def test_remove_heeds_the_answer(models: Path, answer: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cpm_lm", "remove", "tiny"]
    with subprocess.Popen(command, stdin=theirs, stderr=subprocess.PIPE, text=True) as process:
        os.write(ours, f"{answer}\n".encode())
        _, said = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == (0 if answer == "y" else 1)
    assert (models / "tiny").exists() == (answer == "n")
    assert "tiny" in said

"""`cpm pull`: from a local fake hub to a store."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cpm_lm.checkpoints.known.published import PUBLISHED
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.installation import pip_install
from cpm_lm.model import DEMO
from tests.support.fake_hub import COMMIT, FakeHub, serving
from tests.support.running import Run, parsed

ENGINE = ("--engine", "reference")
NAME = "mymusise/CPM-Generate-distill"
SHORT = "cpm-generate-distill"


@pytest.fixture
def hub(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that publishes the model in the package."""
    from huggingface_hub import constants

    names = ("config.json", "model.safetensors", "chinese_vocab.model")
    files = {name: (DEMO / name).read_bytes() for name in names}
    with serving(FakeHub(name=NAME, files=files | {"README.md": b"#"})) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield served


def test_a_short_name_gives_a_verified_store(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    printed = run("pull", SHORT, *ENGINE)
    made = tmp_path / "home" / "models" / "CPM-Generate-distill"
    assert f"{NAME} @ {COMMIT[:10]}" in printed.stdout
    assert "Sound." in printed.stdout
    assert str(tmp_path / "cache") in printed.stdout
    assert Store.open(made).weights == Store.open(DEMO).weights  # as published
    assert Store.open(made).has_tokenizer
    again = run("pull", SHORT, *ENGINE, code=1)
    assert "exists already" in again.stderr
    assert again.stderr.count("\n") == 1


def test_a_pulled_model_is_called_by_its_name(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    run("pull", SHORT, "--name", "小", *ENGINE)
    (found,) = [model for model in parsed(run("list", "--json")) if model["name"] == "小"]
    assert found["origin"] == f"{NAME}@{COMMIT}"
    assert found["path"] == str(tmp_path / "home" / "models" / "小")
    run("next", "今天", "-m", "小", *ENGINE)
    run("convert", "小", "--name", "q8", "--weights", "q8")
    assert parsed(run("inspect", "q8", "--json"))["origin"] == f"{NAME}@{COMMIT}"
    hub.requests.clear()
    for words in (["--name", "a/b"], ["--name", "demo"], ["--name", "小"]):
        assert run("pull", SHORT, *words, code=1).stderr.count("\n") == 1
    assert hub.requests == [], "refused before anything is fetched"


def test_help_lists_the_known_models_and_their_sizes(run: Run) -> None:
    text = run("pull", "--help").stdout
    for model in PUBLISHED:
        (line,) = [line for line in text.splitlines() if line.split()[:1] == [model.short]]
        assert model.name.split("/")[0] in line
    assert "10.4 GB" in text
    assert "did you mean TsinghuaAI/CPM-Generate?" in run("pull", "cpm-genrate", code=1).stderr


def test_json_has_all_fields_and_options_are_used(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()  # an empty directory may be used
    words = ["pull", NAME, "-o", tmp_path / "out", "--weights", "f32", "--revision", COMMIT]
    found = parsed(run(*words, "--json", *ENGINE))
    assert found["fetched"]["commit"] == COMMIT
    assert found["manifest"]["weights"] == "f32"
    assert found["verification"]["sound"] is True
    assert hub.requested("GET", f"/revision/{COMMIT}")


def test_errors_are_one_line(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    for words, said in (
        (["no such name"], "unknown model"),
        (["someone/else"], "has no public model someone/else"),
        ([NAME, "--revision", "v9"], "no such revision"),
    ):
        result = run("pull", *words, code=1)
        assert said in result.stderr
        assert result.stderr.count("\n") == 1
    run("pull", NAME, "--weights", "f8", code=2)
    assert list((tmp_path / "home" / "models").iterdir()) == []


def test_a_model_that_fails_the_check_of_chinese_is_kept_and_reported(
    run: Run, hub: FakeHub, store: Path, tmp_path: Path
) -> None:
    hub.files = {path.name: path.read_bytes() for path in store.iterdir()}
    result = run("pull", NAME, *ENGINE, code=1)
    assert "looks untrained" in result.stdout
    assert (tmp_path / "home" / "models" / "CPM-Generate-distill").is_dir()


def test_without_huggingface_hub_the_error_names_the_extra(
    run: Run, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = run("pull", NAME, code=1)
    assert pip_install("pull") in result.stderr
    assert result.stderr.count("\n") == 1


def test_after_ctrl_c_the_next_call_resumes(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    from huggingface_hub import constants

    model = hub.files["model.safetensors"] * 4  # more than the client reads in one call
    assert len(model) > 2 * constants.DOWNLOAD_CHUNK_SIZE
    hub.files["model.safetensors"] = model
    hub.stall, hub.break_after = threading.Event(), len(model) - 1
    command = [sys.executable, "-m", "cpm_lm", "pull", NAME, *ENGINE]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(600):
                if any(p.stat().st_size > 1e6 for p in tmp_path.rglob("*.cpm.incomplete")):
                    break
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    hub.stall.set()
    # On a busy machine the client may print lines of its own before.
    assert said.splitlines()[-1].startswith("cpm: interrupted; run the same command to continue")
    assert "Traceback" not in said
    assert process.returncode == 130
    (kept,) = tmp_path.rglob("*.cpm.incomplete")
    size = kept.stat().st_size
    hub.requests.clear()
    result = run("pull", NAME, *ENGINE, code=1)  # the bytes sent are not a model
    assert "model.safetensors" in result.stderr
    assert [headers["range"] for headers in hub.requested("GET", "cdn/blob/model")] == [
        f"bytes={size}-"
    ]
    assert list((tmp_path / "home" / "models").iterdir()) == []  # no incomplete store


KILLED = """
import os, signal, sys
from cpm_lm.hub.pull import pull
def progress(stage, done, total):
    if stage == "convert" and done:
        os.kill(os.getpid(), signal.SIGKILL)
pull(sys.argv[1], engine="reference", progress=progress)
"""


def test_after_a_kill_while_converting_the_next_call_fetches_nothing_and_leaves_nothing(
    run: Run, hub: FakeHub, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", KILLED, NAME]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    models = tmp_path / "home" / "models"
    assert len(list(models.iterdir())) == 1  # what the killed process left
    hub.requests.clear()
    run("pull", NAME, *ENGINE)
    assert not hub.requested("GET", "resolve")
    assert [entry.name for entry in models.iterdir()] == ["CPM-Generate-distill"]

"""Only what a conversion wrote is removed, and nothing outside the home."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from cpm_lm.checkpoints.removal import plan_removal, remove
from cpm_lm.errors import CheckpointError

WRITTEN = Path(__file__).parent.parent / "data" / "written-by-0.1" / "f32"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one model, `tiny`."""
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
    shutil.copytree(WRITTEN, tmp_path / "home" / "models" / "tiny")
    return tmp_path / "home" / "models"


def removed(*names: str) -> int:
    plans = plan_removal(names)
    for plan in plans:
        remove(plan)
    return sum(plan.bytes for plan in plans)


def test_a_model_is_removed_and_its_space_counted(models: Path) -> None:
    size = sum(file.stat().st_size for file in (models / "tiny").iterdir())
    assert removed("tiny", "tiny") == size  # named twice, removed once
    assert list(models.iterdir()) == []


def test_other_files_stay(models: Path) -> None:
    (models / "tiny" / "notes.txt").write_text("mine")
    (models / "tiny" / "more").mkdir()
    (plan,) = plan_removal(["tiny"])
    assert plan.kept == ("more", "notes.txt")
    remove(plan)
    assert sorted(path.name for path in (models / "tiny").iterdir()) == ["more", "notes.txt"]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_no_link_is_followed(models: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(WRITTEN, outside)
    before = sorted(outside.iterdir())
    (models / "linked").symlink_to(outside, target_is_directory=True)
    (models / "broken").symlink_to(tmp_path / "nowhere")
    assert removed("linked", "broken") == 0
    assert sorted(outside.iterdir()) == before
    assert [path.name for path in models.iterdir()] == ["tiny"]
    model = models / "tiny" / "model.safetensors"
    model.unlink()
    model.symlink_to(outside / "model.safetensors")  # a file that is a link
    removed("tiny")
    assert sorted(outside.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_manifest_that_names_a_linked_folder_removes_nothing_there(
    models: Path, tmp_path: Path
) -> None:
    # A downloaded manifest could name files anywhere below a link.
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (models / "tiny" / "sub").symlink_to(tmp_path / "precious", target_is_directory=True)
    path = models / "tiny" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"].append({"name": "sub/file", "bytes": 1, "sha256": "0" * 64})
    path.write_text(json.dumps(manifest))
    (plan,) = plan_removal(["tiny"])
    assert plan.kept == ("sub",)
    remove(plan)
    assert (tmp_path / "precious" / "file").read_text() == "x"


def test_a_file_with_another_name_frees_nothing(models: Path, tmp_path: Path) -> None:
    model = models / "tiny" / "model.safetensors"
    size = model.stat().st_size
    total = sum(file.stat().st_size for file in (models / "tiny").iterdir())
    os.link(model, tmp_path / "same")
    assert removed("tiny") == total - size
    assert (tmp_path / "same").stat().st_size == size


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("demo", "model in the package"),
        ("nothing", "no model nothing"),
        ("..", "no model"),
        ("../models/tiny", "no model"),
        ("./tiny", "no model"),
        ("", "no model"),
        ("foreign", "has no manifest.json"),
        ("torn", "cannot be read.*or delete .*torn yourself"),
    ],
)
def test_what_is_no_model_of_the_home_is_refused_before_anything_is_removed(
    models: Path, name: str, said: str
) -> None:
    (models / "foreign").mkdir()
    (models / "foreign" / "config.json").write_text("{}")
    shutil.copytree(WRITTEN, models / "torn")
    (models / "torn" / "manifest.json").write_text("{")
    before = sorted(models.rglob("*"))
    with pytest.raises(CheckpointError, match=said):
        removed("tiny", name)
    assert sorted(models.rglob("*")) == before


def test_a_model_half_removed_can_be_removed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (plan,) = plan_removal(["tiny"])
    assert plan.files[-1] == "manifest.json"
    (models / "tiny" / plan.files[0]).unlink()  # as after Ctrl-C
    removed("tiny")
    assert list(models.iterdir()) == []

"""A model is found by its path or its name, and an unknown name says what would help."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import cpm_lm
from cpm_lm.checkpoints.known.published import PUBLISHED
from cpm_lm.checkpoints.named import model_names, model_path, new_model
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.evaluation.divergence import compare
from cpm_lm.model import DEMO
from cpm_lm.verification.inspect import inspect

WRITTEN = Path(__file__).parent.parent / "data" / "written-by-0.1" / "f32"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models of a home, in a current directory beside it."""
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "home" / "models").mkdir(parents=True)
    return tmp_path / "home" / "models"


def test_a_path_comes_before_a_name_and_a_name_before_the_built_in_model(models: Path) -> None:
    assert model_path("demo") == model_path("Demo") == DEMO
    (models / "demo").mkdir()
    assert model_path("demo") == models / "demo"
    Path("demo").mkdir()
    assert model_path("demo") == Path("demo")
    assert model_path(models) == models


def test_case_matters_only_between_two_models(models: Path) -> None:
    (models / "Tiny").mkdir()
    assert model_path("tiny") == models / "Tiny"
    try:
        (models / "tiny").mkdir()
    except FileExistsError:
        pytest.skip("this disk has no two names that differ only in case")
    assert model_path("tiny") == models / "tiny"
    with pytest.raises(CheckpointError, match="did you mean"):
        model_path("TINY")


def test_names_are_listed_and_hidden_ones_are_not(models: Path) -> None:
    for name in ("b", ".b.partial", "a"):
        (models / name).mkdir()
    (models / "file").touch()
    assert model_names() == ["demo", "a", "b"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CPM-Generate", "with: cpm pull CPM-Generate$"),
        ("cpm-generat", "with: cpm pull CPM-Generate$"),
        ("mymusise/CPM-Generate-distill", "with: cpm pull CPM-Generate-distill$"),
        ("someone/new-model", "if it is .* on the Hugging Face hub, .* cpm pull someone/new-model"),
        ("dmo", "did you mean the model demo"),
        ("my-modle", "did you mean the model my-model"),
        ("uer/my-model", "did you mean the model my-model"),
        ("./no/such/path", "expected a path, or a name: cpm list"),
        ("../no", "expected a path, or a name: cpm list"),
        ("zzzzzz", "expected a path, or a name: cpm list"),
        ("x" * 5000, "expected a path, or a name"),
        ("a\0b", "expected a path, or a name"),
        ("", "does not exist"),
    ],
)
def test_an_unknown_name_says_what_would_help(models: Path, name: str, said: str) -> None:
    (models / "my-model").mkdir()
    with pytest.raises(CheckpointError, match=said):
        model_path(name)


@pytest.mark.parametrize("name", ["..", "../home", "models/../models", "."])
def test_a_name_leads_to_no_other_directory(models: Path, name: str) -> None:
    (models.parent.parent / "here").rmdir()  # so that relative paths lead nowhere
    with pytest.raises((CheckpointError, ConfigError)):
        new_model(name)


def test_all_functions_take_a_name(models: Path) -> None:
    shutil.copytree(DEMO, models / "mine")
    shutil.copytree(WRITTEN, models / "other")
    assert cpm_lm.load("mine", engine="reference").sample("今天", max_tokens=2)
    assert cpm_lm.open_engine("mine", engine="reference").config.n_embd == 192
    assert inspect("mine", digests=False).layout == "store"
    assert not cpm_lm.verify("mine", loss=False).problems
    assert cpm_lm.convert("other", new_model("q8"), weights="q8").weights == "q8"
    assert model_names() == ["demo", "mine", "other", "q8"]
    assert compare("mine", "demo", "今天的天空很蓝。", engine="reference").worst_kl == 0


def test_a_home_that_cannot_be_written_is_an_error_before_any_work(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(CheckpointError, match="cannot be written to; set CPM_HOME"):
        new_model("x")
    with pytest.raises(CheckpointError, match="cannot be written to; set CPM_HOME"):
        cpm_lm.pull("CPM-Generate")


def test_the_built_in_models_name_is_taken(models: Path) -> None:
    with pytest.raises(ConfigError, match="model in the package"):
        new_model("Demo")


def test_published_sizes_are_those_of_their_shapes() -> None:
    # From each model's config.json on the hub: V, P, D and L.
    shapes = ((30_000, 1024, 2560, 32), (30_000, 1024, 768, 12), (21_128, 1024, 768, 12))
    for model, (vocab, positions, width, layers) in zip(PUBLISHED, shapes, strict=True):
        block = 12 * width * width + 13 * width
        assert model.parameters == (vocab + positions + 2) * width + layers * block

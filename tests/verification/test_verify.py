"""Damaged models, and pairs of equal models in all formats."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.source import open_source
from cpm_lm.engines.opening import own_weights
from cpm_lm.errors import CapacityError, CheckpointError, ConfigError
from cpm_lm.model import DEMO
from cpm_lm.verification.logit_difference import fixed_ids, largest_difference
from cpm_lm.verification.verify import Verification, verify
from tests.support.make_shards import write_shards


def checked(path: Path, **options: Any) -> Verification:
    return verify(path, engine="reference", **options)


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path / "demo"))


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary stores; it must be empty at the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_the_packaged_model_passes(tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    found = checked(DEMO, progress=lambda done, total: reported.append((done, total)))
    assert found.problems == []
    assert found.notes == []
    assert (found.layout, found.weights, found.engine) == ("store", "f16", "reference")
    assert found.parameters == Store.open(DEMO).config.parameter_count
    assert found.files is not None
    assert all(file.problem is None for file in found.files)
    assert found.sanity is not None
    done, total = zip(*reported, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == total[-1] == total[0]
    assert found.to_json()["sound"] is True


def test_a_flipped_bit_is_found_and_the_model_is_not_run(demo: Path) -> None:
    path = demo / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[5_000_000] ^= 1
    path.write_bytes(data)
    found = checked(demo)
    assert len(found.problems) == 1
    assert "model.safetensors has changed" in found.problems[0]
    assert found.engine is None
    assert checked(demo, digests=False).problems == []


def test_a_truncated_file_gives_two_problems(demo: Path) -> None:
    with (demo / "model.safetensors").open("rb+") as file:
        file.truncate(5_000_000)
    found = checked(demo)
    assert any("5,000,000 bytes, 8,6" in problem for problem in found.problems)
    assert any("the file has 5,000,000 bytes" in problem for problem in found.problems)
    assert found.layout is None


def test_a_store_without_manifest_gets_the_other_checks(demo: Path) -> None:
    (demo / "manifest.json").unlink()
    found = checked(demo)
    assert found.problems == []
    assert found.files is None
    assert "no manifest.json" in found.notes[0]
    assert found.sanity is not None


def test_a_manifest_of_another_model_is_a_problem(demo: Path) -> None:
    text = (demo / "manifest.json").read_text().replace("4303872", "4303873")
    (demo / "manifest.json").write_text(text)
    assert any("the manifest records 4,303,873" in problem for problem in checked(demo).problems)
    (demo / "manifest.json").write_text("{")
    assert "is not valid JSON" in checked(demo).problems[0]


def rewritten(demo: Path, target: Path, name: str, change: Any) -> Path:
    """A copy of the packaged model with one tensor changed, and a matching manifest."""
    store = Store.open(demo)
    path = target / "model.safetensors"
    shutil.copytree(demo, target)
    offset = store.tensor(name).ctypes.data - store.tensor(store.names[0]).ctypes.data
    start = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    view = np.memmap(path, np.float16, "r+", start + offset, store.tensor(name).shape)
    change(view)
    view.flush()
    (target / "manifest.json").unlink()
    return target


def test_nan_weights_are_found(demo: Path, tmp_path: Path) -> None:
    def corrupt(array: Any) -> None:
        array[3, 5:7] = np.nan, np.inf

    corrupted = rewritten(demo, tmp_path / "bad", "h.3.mlp.c_fc.weight", corrupt)
    found = checked(corrupted)
    assert found.problems == [
        "h.3.mlp.c_fc.weight holds 2 numbers that are not finite (NaN or infinite)"
    ]


def test_permuted_rows_of_the_embedding_are_reported_as_a_wrong_vocabulary(
    demo: Path, tmp_path: Path
) -> None:
    def corrupt(array: Any) -> None:
        array[:] = np.random.default_rng(0).permutation(array)

    found = checked(rewritten(demo, tmp_path / "bad", "wte.weight", corrupt))
    assert "looks untrained" in found.problems[0]
    assert "vocabulary is another model's" in found.problems[0]


def test_a_vocabulary_of_another_size_is_a_problem(demo: Path, tmp_path: Path) -> None:
    from tests.support.tiny_vocabulary import train

    train(demo)
    assert "belongs to another model" in checked(demo, digests=False).problems[0]
    (demo / "manifest.json").unlink()
    assert "the vocabulary this model was trained with" in checked(demo).problems[0]
    (demo / "chinese_vocab.model").write_bytes(b"?")
    assert "chinese_vocab.model" in checked(demo).problems[0]


def test_an_untrained_model_is_reported(tmp_path: Path) -> None:
    source = write_shards(tmp_path / "in", vocab=8000, width=16, positions=64, scale=0.02)
    shutil.copy(DEMO / "chinese_vocab.model", source)
    found = checked(source, heads=4)
    assert found.sanity is not None
    assert found.sanity.loss == pytest.approx(np.log(8000), abs=0.1)
    assert "looks untrained" in found.problems[0]
    assert checked(source, heads=4, loss=False).problems == []


FORMATS = ["tiny-mp1", "tiny-mp2", "tiny-mp4", "tiny-mp2-model_optim_rng", "store", "megatron"]


@pytest.fixture(scope="module")
def forms(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("forms")
    convert(checkpoints / "tiny-mp2", root / "store", heads=4)
    convert(checkpoints / "tiny-mp2", root / "megatron", to="megatron", ranks=4, heads=4)
    for weights in ("f16", "bf16"):
        convert(checkpoints / "tiny-mp2", root / weights, heads=4, weights=weights)
    return {name: checkpoints / name for name in FORMATS[:4]} | {
        name: root / name for name in ("store", "megatron", "f16", "bf16")
    }


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_any_two_formats_of_one_model_agree(
    forms: dict[str, Path], scratch: Path, first: str, second: str
) -> None:
    found = checked(forms[first], against=forms[second], heads=4, loss=False)
    assert found.problems == []
    assert found.difference is not None
    assert found.difference.largest == 0
    assert found.difference.tolerance == 1e-4
    assert found.difference.same_top == 1
    assert not list(scratch.iterdir())


@pytest.mark.parametrize(("weights", "allowed"), [("f16", 1e-2), ("bf16", 8e-2)])
def test_rounding_is_within_the_tolerance_of_the_format(
    forms: dict[str, Path], weights: str, allowed: float
) -> None:
    found = checked(forms["store"], against=forms[weights])
    assert found.problems == []
    assert found.difference is not None
    assert allowed / 10 < found.difference.largest < found.difference.tolerance == allowed
    strict = checked(forms["store"], against=forms[weights], tolerance=1e-4)
    assert "is allowed" in strict.problems[0]


def test_heads_come_from_the_model_that_records_them(forms: dict[str, Path]) -> None:
    assert checked(forms["tiny-mp2"], against=forms["store"]).problems == []
    assert checked(forms["store"], against=forms["tiny-mp2"]).problems == []
    with pytest.raises(ConfigError, match="how many attention heads"):
        checked(forms["tiny-mp2"], against=forms["tiny-mp4"])


def test_a_full_disk_is_not_a_problem_of_the_model(
    forms: dict[str, Path], scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(CapacityError, match=r"1,000 free: .* set TMPDIR") as caught:
        checked(forms["tiny-mp2"], against=forms["tiny-mp1"], heads=4, loss=False)
    assert f"the disk of {scratch}" in str(caught.value)
    assert not list(scratch.iterdir())


def test_a_different_model_is_reported_with_the_largest_difference(
    forms: dict[str, Path], checkpoints: Path
) -> None:
    found = checked(forms["store"], against=checkpoints / "tiny-mp2-fp16")
    apart = found.difference
    assert apart is not None
    assert apart.problem == found.problems[0]
    assert apart.largest == pytest.approx(abs(apart.here - apart.there))
    assert apart.largest > 1
    assert f"next token {apart.token_id}" in found.problems[0]


def test_models_that_cannot_be_compared(forms: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="8,000 pieces, the other 512"):
        checked(DEMO, against=forms["store"])
    with pytest.raises(CheckpointError, match="does not exist"):
        checked(DEMO, against=tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="does not exist"):
        checked(tmp_path / "nothing")
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="tolerance is"):
            checked(DEMO, against=DEMO, tolerance=wrong)


def test_the_position_of_the_largest_difference_is_found() -> None:
    here, there = np.zeros((2, 6, 5), np.float32), np.zeros((2, 6, 5), np.float32)
    there[1, 2, 3] = 0.5
    found = largest_difference(
        here.reshape(12, 5), there.reshape(12, 5), other="x", tolerance=0.4, scale_tolerance=False
    )
    assert (found.row, found.position, found.token_id, found.largest) == (1, 2, 3, 0.5)
    assert found.problem is not None
    assert found.same_top == pytest.approx(11 / 12)


def test_the_tolerance_grows_with_the_logits_only_by_default() -> None:
    rng = np.random.default_rng(0)
    here = (30 * rng.standard_normal((4, 1000))).astype(np.float32)
    for scale, allowed in ((True, 20 * 1e-4), (False, 1e-4)):
        found = largest_difference(here, here, other="x", tolerance=1e-4, scale_tolerance=scale)
        assert found.tolerance == pytest.approx(allowed, rel=0.05)


def test_the_texts_are_fixed() -> None:
    ids = fixed_ids(30_000, 64)
    assert ids.shape == (2, 64)
    assert ids[0, :4].tolist() == [13756, 9107, 21883, 25461]
    assert (fixed_ids(30_000, 8) == ids[:, :8]).all()


def test_mixed_dtypes_are_read_as_float32(tmp_path: Path) -> None:
    import torch

    def mix(rank: int, root: Any) -> None:
        weights = root["module"]
        name = "transformer.final_layernorm.bias"
        weights[name] = weights[name].to(torch.bfloat16)

    source = write_shards(tmp_path / "in", dtype=torch.float16, edit=mix)
    assert own_weights(open_source(source)) == "f32"


SLEEPING = """
import sys, time
from cpm_lm.engines import opening
def start(store, options):
    print(store.directory, flush=True)
    time.sleep(600)
opening.start_engine = start
from cpm_lm.verification.verify import verify
verify(sys.argv[1], against=sys.argv[1], heads=4, digests=False, engine="reference")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_temporary_store_for_ever(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals
) -> None:
    """A store of the model's size was left by a signal; a kill still leaves it to the next run."""
    scratch = Path(tempfile.gettempdir())
    assert scratch.is_relative_to(tmp_path)
    monkeypatch.setenv("TMPDIR", str(scratch))
    other, foreign = scratch / "cpm-verify-mine", scratch / f"cpm-verify-{'0' * 16}"
    for kept in (other, foreign):  # another name; or of another program
        kept.mkdir()
        (kept / "letter").write_text("dear")
    shards = str(checkpoints / "tiny-mp2")
    command = [sys.executable, "-c", SLEEPING, shards]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        directory = Path(process.stdout.readline().strip())
        assert directory.is_relative_to(scratch)
        verify(shards, heads=4, loss=False, against=shards, engine="reference")  # beside it
        assert directory.is_dir()
        process.send_signal(how)
        assert process.wait(30) == -how
    assert directory.exists() == (how == signal.SIGKILL)
    verify(shards, heads=4, loss=False, against=shards, engine="reference")
    assert set(scratch.iterdir()) == {other, foreign}
    assert (foreign / "letter").read_text() == "dear"

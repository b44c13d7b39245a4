"""A store that is changed while an engine uses it: refused, never other logits in silence."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cpm_lm.checkpoints.containers.safetensors_file import read_safetensors
from cpm_lm.checkpoints.layouts.store import MODEL, Store, write_model
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.choices import EngineName
from cpm_lm.engines.base import Session
from cpm_lm.engines.options import EngineOptions
from cpm_lm.engines.select import start_engine
from cpm_lm.errors import CheckpointError
from tests.support.programs import run_program
from tests.support.random_models import random_tensors, shape

TOKENS = ([1, 2, 3], [-1, -2, -3])


def write_store(folder: Path, weights: str, seed: int = 0) -> Path:
    folder.mkdir()
    config = shape()
    tensors = {
        name: ShardedTensor((Tensor(values, "F32"),))
        for name, values in random_tensors(config, seed).items()
    }
    write_model(folder, config, tensors, weights)
    return folder


def started(folder: Path, engine: EngineName) -> Session:
    return start_engine(Store.open(folder), EngineOptions(engine=engine)).session()


def truncate(model: Path) -> None:
    os.truncate(model, 4096)


def overwrite(model: Path) -> None:
    with model.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        file.write(bytes(100))


def append(model: Path) -> None:
    with model.open("ab") as file:
        file.write(b"more")


def copy_over(model: Path) -> None:
    shutil.copyfile(write_store(model.parent / "other", "f32", seed=1) / MODEL, model)


HARMFUL = [
    (truncate, "truncated"),
    *((way, "written to") for way in (overwrite, append, copy_over)),
]


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses to write to mapped files")
@pytest.mark.parametrize(("engine", "weights"), [("native", "q8"), ("reference", "f32")])
@pytest.mark.parametrize(("change", "word"), HARMFUL)
def test_a_store_changed_in_place_is_refused(
    tmp_path: Path, engine: EngineName, weights: str, change: Callable[[Path], None], word: str
) -> None:
    folder = write_store(tmp_path / "store", weights)
    session = started(folder, engine)
    nodes, _ = session.extend(*TOKENS)
    change(folder / MODEL)
    for _ in range(2):  # and stays refused
        with pytest.raises(CheckpointError, match=f"{MODEL} was {word} while in use"):
            session.extend([4], [int(nodes[-1])])
    assert session.live == 3  # the session is as before
    session.release(nodes[:1])


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses to write to mapped files")
def test_a_store_changed_during_a_call_gives_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last call of a session has no next one that would notice.
    folder = write_store(tmp_path / "store", "f32")
    session = started(folder, "native")
    inner = session._compute

    def compute(*arguments):
        answers = inner(*arguments)
        overwrite(folder / MODEL)
        return answers

    monkeypatch.setattr(session, "_compute", compute)
    with pytest.raises(CheckpointError, match="written to"):
        session.extend(*TOKENS)
    assert session.live == 0


def renamed_over(model: Path) -> None:
    (model.parent / "new").write_bytes(b"another file")
    (model.parent / "new").replace(model)


def moved(model: Path) -> None:
    model.rename(model.with_name("elsewhere"))


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps mapped files")
@pytest.mark.parametrize("change", [renamed_over, moved, Path.unlink, lambda m: m.chmod(0o400)])
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_file_replaced_or_deleted_stays_in_use(
    tmp_path: Path, engine: EngineName, change: Callable[[Path], None]
) -> None:
    folder = write_store(tmp_path / "store", "f32")
    session = started(folder, engine)
    before = session.extend(*TOKENS)[1]
    change(folder / MODEL)
    assert np.array_equal(session.extend(*TOKENS)[1], before)


def test_weights_that_were_copied_do_not_need_their_file(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", "f16")
    session = started(folder, "reference")  # computes in float32, so nothing is mapped
    gc.collect()
    (folder / MODEL).write_bytes(b"")
    session.extend(*TOKENS)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_a_mapping_that_ends_closes_its_file(tmp_path: Path) -> None:
    model = write_store(tmp_path / "store", "f32") / MODEL
    before = len([*Path("/proc/self/fd").iterdir()])
    for _ in range(300):  # more than there can be watches
        read_safetensors(model)
    gc.collect()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


BETWEEN = """if True:
    import os, sys
    import cpm_lm
    from cpm_lm.engines.base import Session
    session = cpm_lm.open_engine(sys.argv[1], engine=sys.argv[2]).session()
    Session._check_files = lambda self: os.truncate(sys.argv[1] + "/model.safetensors", 4096)
    session.extend([1, 2, 3], [-1, -2, -3])
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_file_truncated_after_the_check_is_named_on_one_line(
    tmp_path: Path, engine: EngineName
) -> None:
    folder = write_store(tmp_path / "模型\n", "f32")
    code, out, errors = run_program(BETWEEN, str(folder), engine)
    assert (code, out) == (-signal.SIGBUS, "")
    assert errors.startswith("cpm: ")
    assert r"模型\n/model.safetensors was truncated while in use" in errors
    assert errors.count("\n") == 1

"""Exported models, loaded by TensorFlow alone in another process, and by Keras."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from cpm_lm.checkpoints.convert import convert
from cpm_lm.choices import ExportFormat
from cpm_lm.errors import CheckpointError, ConfigError, CpmError
from cpm_lm.gpt.export import Exported, export
from cpm_lm.tokenizer import Tokenizer
from tests.support.make_shards import whole_model, write_shards
from tests.support.tiny_vocabulary import train
from tests.support.tolerances import LOGITS

PARAMETERS = 191040
SIGNATURES = {"serving_default", "seeded", "logits", "padded", "padded_seeded", "padded_logits"}
DATA = "variables/variables.data-00000-of-00001"
ALONE = """
import sys
class Gone:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] == "cpm_lm":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Gone())
try:
    import cpm_lm
except ModuleNotFoundError:
    pass
else:
    sys.exit("the package was found")
import numpy as np
import tensorflow as tf
source, target = sys.argv[1:]
given = np.load(source)
model = tf.saved_model.load(str(given["path"]))
prompt = tf.constant(given["prompt"][None], tf.int64)
length = tf.constant(24, tf.int64)
results = {"logits": model.signatures["logits"](inp=tf.constant(given["input_ids"], tf.int64))}
full = model.signatures["serving_default"]
for name, top_p, temperature in (("greedy", 0.9, 0.0), ("nucleus", 1e-6, 0.9)):
    results[name] = full(inp=prompt, length=length, top_p=tf.constant(top_p, tf.float32),
                         temperature=tf.constant(temperature, tf.float32))
for name, before in (("left", 1), ("right", 0)):
    pads = [[0, 0], [5 * before, 5 * (1 - before)]]
    results[name] = model.signatures["padded"](
        inp=tf.pad(prompt, pads, constant_values=3), mask=tf.pad(tf.ones_like(prompt), pads),
        length=length, top_p=tf.constant(0.9), temperature=tf.constant(0.0))
np.savez(target, **{name: result["output_0"].numpy() for name, result in results.items()})
"""


@pytest.fixture(scope="module")
def store(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("store") / "tiny"
    convert(checkpoints / "tiny-mp2", target, heads=4)
    return target


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one layer, for tests that do not check its logits."""
    root = tmp_path_factory.mktemp("small")
    convert(write_shards(root / "in", layers=1, positions=16), root / "store", heads=2)
    return root / "store"


@pytest.fixture(scope="module")
def reference(checkpoints: Path) -> dict[str, Any]:
    """The original's outputs with these weights."""
    with np.load(checkpoints / "tiny-mp2" / "reference.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module", params=["f32", "f16"])
def exported(
    request: pytest.FixtureRequest, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Exported]:
    target = tmp_path_factory.mktemp("exported") / request.param
    return target, export(store, target, format="saved-model", weights=request.param)


def test_tensorflow_alone_gives_the_original_logits(
    exported: tuple[Path, Exported], reference: dict[str, Any], tmp_path: Path
) -> None:
    path, about = exported
    given = {name: reference[name] for name in ("prompt", "input_ids")}
    np.savez(tmp_path / "given.npz", path=str(path), **given)
    command = [
        sys.executable,
        "-c",
        ALONE,
        str(tmp_path / "given.npz"),
        str(tmp_path / "found.npz"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "found.npz")
    limit = LOGITS[{"f32": "float32", "f16": "float16"}[about.weights]]
    assert np.abs(found["logits"] - reference["logits"]).max() < limit
    expected = np.concatenate([reference["prompt"], reference["greedy_tokens"]])
    for name in ("greedy", "nucleus"):
        assert found[name].dtype == np.int64
        assert np.array_equal(found[name], expected[None])
    for name in ("left", "right"):
        assert np.array_equal(found[name][0, : len(expected)], expected)
        assert found[name].shape == (1, len(expected) + 5)


def test_weights_are_stored_once(exported: tuple[Path, Exported]) -> None:
    path, about = exported
    width = {"f32": 4, "f16": 2}[about.weights]
    assert about.parameters == PARAMETERS
    assert 0 <= (path / DATA).stat().st_size - width * PARAMETERS < 20_000
    assert about.bytes == sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    message = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = message.meta_graphs[0].graph_def
    nodes = [
        *graph.node,
        *(node for function in graph.library.function for node in function.node_def),
    ]
    constants = [
        node.attr["value"].tensor.ByteSize()
        for node in nodes
        if node.op == "Const" and node.attr["dtype"].type != tf.string.as_datatype_enum
    ]
    assert len(constants) > 100
    assert max(constants) < 400


def test_an_export_converts_back_to_the_same_model(
    exported: tuple[Path, Exported], store: Path, tmp_path: Path
) -> None:
    path, about = exported
    convert(path, tmp_path / "again", weights=about.weights)  # the export records the heads
    convert(store, tmp_path / "expected", weights=about.weights)
    for part in ("model.safetensors", "config.json"):
        expected = (tmp_path / "expected" / part).read_bytes()
        assert (tmp_path / "again" / part).read_bytes() == expected


def test_the_first_ports_signatures(small: Path, tmp_path: Path) -> None:
    """Two arguments, one token more, and scalars although it declared [None]."""
    export(small, tmp_path / "port", format="saved-model", compat=True, short=True)
    signatures = tf.saved_model.load(str(tmp_path / "port")).signatures
    assert set(signatures) == SIGNATURES
    short = signatures["serving_default"]
    assert set(short.structured_input_signature[1]) == {"inp", "length"}
    inp = tf.constant([[1, 2, 3], [4, 5, 6]], tf.int64)
    for length in (5, [5], [5, 5]):
        found = short(inp=inp, length=tf.constant(length, tf.int64))["output_0"]
        assert found.shape == (2, 3 + 5 + 1)
        assert np.array_equal(found[:, :3], inp)


def test_a_text_ends_at_the_tokenizers_end_token(tmp_path: Path) -> None:
    vocabulary = train(tmp_path / "vocabulary", vocab_size=190, hard_vocab_limit=True)
    size = Tokenizer.load(vocabulary).vocab_size
    shards = write_shards(tmp_path / "shards", vocab=size, layers=1)
    convert(shards, tmp_path / "store", heads=2, tokenizer=vocabulary)
    export(tmp_path / "store", tmp_path / "out", format="saved-model")
    extra = {path.name for path in (tmp_path / "out" / "assets.extra").iterdir()}
    assert extra == {"config.json", *Tokenizer.files(vocabulary)}
    call = tf.saved_model.load(str(tmp_path / "out")).signatures["serving_default"]
    rest = {"top_p": tf.constant(1.0), "temperature": tf.constant(50.0)}  # nearly uniform
    inp = tf.constant(np.ones((400, 1)), tf.int64)
    found = call(inp=inp, length=tf.constant(7, tf.int64), **rest)["output_0"].numpy()
    (end,) = Tokenizer.load(vocabulary).end_ids
    ended = [row for row in found if end in row[:-1]]
    assert ended
    for row in ended:
        assert (row[list(row).index(end) :] == end).all()
    again = convert(tmp_path / "out", tmp_path / "again")
    assert {file.name for file in again.files} >= set(Tokenizer.files(vocabulary))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"format": "onnx"}, "format is 'onnx'"),
        ({"weights": "q8"}, "weights is 'q8'"),
        ({"end": 512}, "the id 512 cannot end a text: the model has 512 ids"),
        ({"format": "keras", "compat": True}, "belong to the format saved-model"),
        ({"format": "keras", "end": 3}, "belong to the format saved-model"),
        ({"format": "keras"}, "does not end in .keras"),
    ],
)
def test_incompatible_options_are_refused(
    store: Path, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        export(store, tmp_path / "out", **({"format": "saved-model"} | options))
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_not_a_store_is_refused(checkpoints: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cpm convert"):
        export(checkpoints / "tiny-mp2", tmp_path / "out", format="saved-model")


@pytest.mark.parametrize("kind", ["saved-model", "keras"])
def test_numbers_too_large_for_16_bits_are_refused(tmp_path: Path, kind: ExportFormat) -> None:
    def edit(rank: int, root: dict[str, Any]) -> None:
        root["module"]["transformer.layers.1.mlp.dense_h_to_4h.bias"][3] = 7e4

    assert "word_embeddings.weight" in whole_model()
    convert(write_shards(tmp_path / "in", ranks=1, edit=edit), tmp_path / "store", heads=2)
    with pytest.raises(CheckpointError, match=r"too large for F16 in h\.1\.mlp\.c_fc\.bias"):
        export(tmp_path / "store", tmp_path / "out.keras", format=kind, weights="f16")
    assert not (tmp_path / "out.keras").exists()


@pytest.mark.parametrize("kind", ["saved-model", "keras"])
def test_an_existing_target_is_not_overwritten(
    store: Path, tmp_path: Path, kind: ExportFormat
) -> None:
    target = tmp_path / "mine.keras"
    if kind == "keras":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(CheckpointError, match="exists already"):
        export(store, target, format=kind)
    if kind == "saved-model":
        with pytest.raises(CheckpointError, match="will not be overwritten"):
            export(store, target, format=kind, overwrite=True)
    kept = target / "mine" if target.is_dir() else target
    assert kept.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["saved-model", "keras"])
def test_a_full_disk_leaves_no_files(
    small: Path, tmp_path: Path, kind: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        Path(arguments[1]).mkdir(exist_ok=True)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    monkeypatch.setattr("keras.Model.save", full)
    with pytest.raises(CheckpointError, match=r"could not be written.*No space left"):
        export(small, tmp_path / "out.keras", format=kind)
    assert not list(tmp_path.iterdir())


def test_tensorflows_write_errors_become_ours(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(CpmError, match="No space left"):
        export(small, tmp_path / "out", format="saved-model")
    assert not list(tmp_path.iterdir())


def test_overwriting_replaces_a_saved_model(small: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "saved_model.pb").write_text("old")
    export(small, tmp_path / "out", format="saved-model", overwrite=True)
    assert "logits" in tf.saved_model.load(str(tmp_path / "out")).signatures
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]

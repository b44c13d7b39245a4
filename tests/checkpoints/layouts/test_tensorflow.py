"""SavedModels of the first port, read without TensorFlow, compared with TensorFlow's reader."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from cpm_lm.checkpoints.containers.tensor_bundle import STRING, Bundle
from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.checkpoints.source import open_source
from cpm_lm.choices import WeightFormat
from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CheckpointError
from cpm_lm.verification.inspect import inspect
from tests.support.tolerances import LOGITS

HEADS = 4
INDEX = "variables/variables.index"
DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture(scope="module")
def whole(checkpoints: Path) -> dict[str, np.ndarray]:
    """The reference model with joined ranks, by Megatron's names."""
    shard = read_torch_file(next((checkpoints / "tiny-mp1").rglob("*.pt")))
    return {name: np.array(found.tensor.array) for name, found in shard["module"].items()}


@pytest.fixture(scope="module")
def ports(
    whole: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The same model as the first port saved it, in both of its number formats."""
    from tests.support.port_savedmodel import port_model, save_port  # slow to import

    root = tmp_path_factory.mktemp("ports")
    return {
        dtype: save_port(port_model(whole, HEADS, dtype), root / dtype)
        for dtype in ("float32", "float16")
    }


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_every_variable_equals_what_tensorflow_reads(ports: dict[str, Path], dtype: str) -> None:
    theirs = tf.train.load_checkpoint(str(ports[dtype] / "variables/variables"))
    ours = Bundle(ports[dtype] / INDEX)
    assert set(ours.entries) == set(theirs.get_variable_to_shape_map())
    for key, entry in ours.entries.items():
        if entry.dtype == STRING:
            assert ours.string(key) == theirs.get_tensor(key)
        else:
            array = ours.tensor(key).array
            assert array.dtype == dtype
            assert not array.flags.writeable
            assert np.array_equal(array, theirs.get_tensor(key))
    assert len(ours.entries) == 1 + 4 + 3 * 16


def test_other_number_formats_equal_what_tensorflow_reads(tmp_path: Path) -> None:
    values = {
        "one": tf.constant([[1.5, -2]], tf.bfloat16),
        "two": tf.constant(3, tf.int64),
        "none": tf.zeros([0, 3]),
        "long" * 60: tf.constant([True, False]),
        "half": tf.constant([[[1]]], tf.float64),
    }
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "x"),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )
    ours = Bundle(tmp_path / "x.index")
    assert set(ours.entries) == set(values)
    for key, value in values.items():
        array = ours.tensor(key).array
        theirs = value.numpy()
        assert np.array_equal(array, theirs.view(np.uint16) if key == "one" else theirs)


@pytest.mark.parametrize(("dtype", "weights"), [("float32", "f32"), ("float16", "f16")])
def test_the_first_ports_files_and_the_shards_give_the_same_store(
    ports: dict[str, Path], checkpoints: Path, tmp_path: Path, dtype: str, weights: WeightFormat
) -> None:
    made = convert(ports[dtype], tmp_path / "store", heads=HEADS, weights=weights)
    assert made.layout == "tensorflow"
    convert(checkpoints / "tiny-mp1", tmp_path / "expected", heads=HEADS, weights=weights)
    for part in ("model.safetensors", "config.json"):
        expected = (tmp_path / "expected" / part).read_bytes()
        assert (tmp_path / "store" / part).read_bytes() == expected


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_logits_are_those_of_the_original_and_of_the_ports_own_program(
    ports: dict[str, Path], checkpoints: Path, tmp_path: Path, dtype: str
) -> None:
    reference = np.load(checkpoints / "tiny-mp1" / "reference.npz")
    convert(ports[dtype], tmp_path / "store", heads=HEADS)
    ids = reference["input_ids"][0].astype(np.int32)
    session = open_engine(tmp_path / "store", engine="reference").session()
    parents = chain(len(ids))
    found = session.extend(ids, parents, list(range(len(ids))))[1]
    assert np.abs(found - reference["logits"][0]).max() < LOGITS[dtype]
    saved = tf.saved_model.load(str(ports[dtype]))
    drawn = saved.signatures["serving_default"](
        inp=tf.constant(ids[None], tf.int64), length=tf.constant([1], tf.int64)
    )["output_0"]
    if dtype == "float32":
        assert np.array_equal(drawn[0, len(ids) :], found.argmax(-1))


def test_a_saved_model_is_recognized_from_any_of_its_paths(ports: dict[str, Path]) -> None:
    port = ports["float16"]
    for path in (port, port / "variables", port / INDEX, port / "saved_model.pb"):
        assert open_source(path).layout == "tensorflow"
    found = inspect(port)
    assert (found.layout, found.weights, found.parameters) == ("tensorflow", "f16", 191040)
    assert [file.name for file in found.files] == [INDEX, DATA]
    assert "heads" in found.warnings[0]


def saved(path: Path, variables: dict[str, Any]) -> Path:
    """A SavedModel with variables of these names only."""
    module = tf.Module()
    module.kept = [tf.Variable(value, name=name) for name, value in variables.items()]
    tf.saved_model.save(module, str(path))
    return path


@pytest.fixture
def named(ports: dict[str, Path]) -> dict[str, np.ndarray]:
    """A port's variables by name."""
    model = tf.saved_model.load(str(ports["float32"]))
    return {variable.name.removesuffix(":0"): variable.numpy() for variable in model.variables}


def test_variables_are_found_by_name_in_any_object(
    named: dict[str, np.ndarray], tmp_path: Path, ports: dict[str, Path]
) -> None:
    second = {  # Keras's names of a second model in the same process
        name.replace("gpt/", "gpt_1/").replace("embedding/", "embedding_1/"): value
        for name, value in named.items()
    }
    expected = open_source(ports["float32"]).tensors
    for at, variables in enumerate((named, second)):
        found = open_source(saved(tmp_path / f"{at}", variables)).tensors
        for name, tensor in expected.items():
            blocks = zip(tensor.blocks(), found[name].blocks(), strict=True)
            assert all(np.array_equal(a, b) for a, b in blocks)


def test_all_problems_are_in_one_error(named: dict[str, np.ndarray], tmp_path: Path) -> None:
    del named["gpt/layer01/attention/key_layer/bias"]
    named["gpt/layer00/output/kernel"] = named["gpt/layer00/output/kernel"].T
    named["gpt/layer02/adapter/kernel"] = np.zeros((2, 2), np.float32)
    value = "gpt/layer02/attention/value_layer/kernel"
    named[value] = named[value].astype(np.float16)
    with pytest.raises(CheckpointError) as caught:
        open_source(saved(tmp_path / "bad", named))
    message = str(caught.value)
    assert "4 problems" in message
    assert "layer01/attention/key_layer/bias is missing" in message
    assert "layer00/output/kernel has shape (64, 256), expected (256, 64)" in message
    assert "layer02/adapter/kernel is not part of this model" in message
    assert "layer02/attention/value_layer/kernel have different number formats" in message


def test_variables_that_are_no_weights_are_refused(
    named: dict[str, np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="iterations is I64; expected only weights"):
        open_source(saved(tmp_path / "step", named | {"iterations": np.int64(5)}))


def test_another_model_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is not a GPT of the first.*dense/ker"):
        open_source(saved(tmp_path / "other", {"dense/kernel": np.zeros((2, 2), np.float32)}))


def test_missing_and_truncated_files_are_named(ports: dict[str, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(ports["float32"], tmp_path / "copy"))
    data = (copy / DATA).read_bytes()
    (copy / DATA).write_bytes(data[:-100])
    with pytest.raises(CheckpointError, match=r"data-00000-of-00001 is truncated"):
        open_source(copy)
    (copy / DATA).unlink()
    with pytest.raises(CheckpointError, match=r"data-00000-of-00001 cannot be read"):
        open_source(copy)
    (copy / INDEX).write_bytes((copy / INDEX).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"variables\.index is damaged"):
        open_source(copy)


def test_weights_that_are_not_finite_are_refused(
    named: dict[str, np.ndarray], tmp_path: Path
) -> None:
    named["gpt/layer01/intermediate/bias"][7] = np.nan
    with pytest.raises(CheckpointError, match=r"h\.1\.mlp\.c_fc\.bias holds 1 numbers"):
        convert(saved(tmp_path / "nan", named), tmp_path / "store", heads=HEADS)
    assert not (tmp_path / "store").exists()


def test_the_number_of_heads_must_be_given(ports: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(Exception, match="heads"):
        convert(ports["float32"], tmp_path / "store")
    convert(ports["float32"], tmp_path / "store", heads=HEADS)
    assert Store.open(tmp_path / "store").config.activation_function == "gelu_new"

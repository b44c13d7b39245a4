"""The random model, and our own implementation on it, with the reference engine."""

import json

import numpy as np
import pytest

from benchmarks.decode import IMPLEMENTATIONS, reference
from benchmarks.measuring import difference
from benchmarks.peers import worker
from benchmarks.peers.files import Files
from benchmarks.peers.ours import BITS, Ours, open_implementation
from cpm_lm.config import GPTConfig

SHAPE = GPTConfig(vocab_size=300, n_positions=1024, n_embd=32, n_layer=2, n_head=2)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("CPM_BENCH_ENGINE", "reference")
    return Files(tmp_path, SHAPE)


def test_weights_are_the_same_from_every_seed_and_differ_between_seeds(files, tmp_path):
    one = files.weights["h.1.mlp.c_fc.weight"].parts[0].array
    again = Files(tmp_path).weights["h.1.mlp.c_fc.weight"].parts[0].array
    other = Files(tmp_path, seed=1).weights["h.1.mlp.c_fc.weight"].parts[0].array
    assert (one == again).all()
    assert not (one == other).any()


def test_logits_of_the_random_model_vary(files):
    assert 0.3 < reference(files).std() < 3


def test_prefill_steps_and_batches_give_the_same_logits(files):
    expected = reference(files)
    found = open_implementation(files, "f32", 1).check()
    assert found.keys() == {"prefill", "rows 1", "rows 32"}
    assert all(difference(logits, expected) < 1e-5 for logits in found.values())


def test_an_implementation_can_be_measured_again_and_again(files):
    implementation = open_implementation(files, "f16", 1)
    first = implementation.check()["rows 32"]
    assert implementation.decode(2) > 0
    assert implementation.prefill(16) > 0
    assert implementation.rows(64, 2) > 0
    assert (implementation.check()["rows 32"] == first).all()
    assert implementation.session.live <= 8 + 1 + 32


def test_a_token_reads_every_stored_byte_but_the_positions(files):
    assert open_implementation(files, "f32", 1).about.bytes_per_token == pytest.approx(
        4 * (SHAPE.parameter_count - SHAPE.n_positions * SHAPE.n_embd), rel=0.1
    )


def test_a_file_whose_writing_fails_is_written_again(files):
    def broken(path):
        path.write_text("half")
        raise RuntimeError("the disk is full")

    with pytest.raises(RuntimeError):
        files.make("model", broken)
    assert not (files.directory / "model").exists()
    assert files.make("model", lambda path: path.write_text("whole")).read_text() == "whole"


def test_a_number_format_that_cannot_be_written_is_a_one_line_error(files):
    with pytest.raises(RuntimeError) as caught:
        files.store("q3")
    assert "\n" not in str(caught.value)


def test_every_implementation_has_a_module_and_ours_have_their_bits():
    names = [name for group in IMPLEMENTATIONS.values() for name in group.split()]
    assert {name.split(":")[0] for name in names} <= worker.MODULES.keys()
    for bits, group in IMPLEMENTATIONS.items():
        ours = [n.split(":")[1] for n in group.split() if n.startswith("ours:")]
        assert ours
        assert all(BITS[form] == bits for form in ours)


def test_an_operation_that_is_not_implemented_is_not_feasible(files):
    class WithoutBatches(Ours):
        def rows(self, count, steps):
            raise NotImplementedError

    subject = worker.Worker(WithoutBatches(files, "f32", 1), files.directory, "x:y")
    assert subject.feasible("prefill")
    assert not subject.feasible("rows 32")


def test_logits_come_back_through_a_file(files):
    subject = worker.Worker(open_implementation(files, "f32", 1), files.directory, "ours:f32")
    with np.load(json.loads(json.dumps(subject.check()))) as found:
        assert found["prefill"].shape == (SHAPE.vocab_size,)

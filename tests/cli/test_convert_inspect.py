from __future__ import annotations

from pathlib import Path

from tests.support.make_pretrained import random_model, state_of, write_bin
from tests.support.running import Run, parsed


def test_convert_prints_a_summary(run: Run, shards: Path, tmp_path: Path) -> None:
    result = run("convert", shards, tmp_path / "new", "--heads", 4, "--weights", "f16")
    assert str(tmp_path / "new") in result.stdout
    assert "f16" in result.stdout
    assert "--tokenizer" in result.stdout  # none was given: the output explains --tokenizer
    assert "%" not in result.stderr  # no progress bar without a terminal


def test_convert_json_is_the_manifest(run: Run, shards: Path, tmp_path: Path) -> None:
    manifest = parsed(run("convert", shards, tmp_path / "new", "--heads", 4, "--json"))
    assert manifest["ranks"] == 2
    assert manifest["iteration"] == 500
    names = {file["name"] for file in manifest["files"]}
    assert names == {"config.json", "tokenizer_config.json", "model.safetensors"}


def test_errors_are_one_line(run: Run, shards: Path, tmp_path: Path) -> None:
    result = run("convert", shards, tmp_path / "new", code=1)
    assert result.stderr.startswith("cpm: ")
    assert result.stderr.count("\n") == 1
    assert "--heads" in result.stderr
    assert not list(tmp_path.iterdir())


def test_wrong_usage_exits_with_2(run: Run) -> None:
    run("convert", code=2)
    run("sample", "x", "--engine", "magic", code=2)
    run("nonsense", code=2)


def test_inspect_describes_a_checkpoint(run: Run, shards: Path) -> None:
    text = run("inspect", shards).stdout
    assert "deepspeed, 2 rank(s)" in text
    assert "500" in text
    assert "unknown" in text  # no published release
    found = parsed(run("inspect", shards, "--json"))
    assert found["ranks"] == 2
    assert found["n_head"] is None
    assert len(found["files"][0]["sha1"]) == 40
    assert parsed(run("inspect", shards, "--json", "--no-digests"))["files"][0]["sha1"] is None


def test_inspect_describes_a_store(run: Run, store: Path) -> None:
    found = parsed(run("inspect", store, "--json"))
    assert found["layout"] == "store"
    assert found["n_head"] == 4
    assert found["tokenizer"] is True
    assert found["iteration"] == 500
    assert {need["engine"] for need in found["memory"]} >= {"reference", "tensorflow", "jax"}


def test_inspect_of_a_missing_path_is_refused(run: Run, tmp_path: Path) -> None:
    result = run("inspect", tmp_path / "nothing", code=1)
    assert result.stderr.count("\n") == 1


def test_ignored_tensors_and_warnings_are_printed(run: Run, tmp_path: Path) -> None:
    model = random_model(vocab_size=60)
    write_bin(tmp_path / "in", model, state_of(model, buffers=True))
    for text in (
        run("inspect", tmp_path / "in").stdout,
        run("convert", tmp_path / "in", tmp_path / "out", "--to", "huggingface").stdout,
    ):
        assert "left out: transformer.h.0.attn.bias," in text
        assert "(6 in all)" in text
        assert "warning: the configuration names wrong special ids: bos_token_id 50256" in text
    assert "--tokenizer" in run("convert", tmp_path / "in", tmp_path / "again").stdout


def test_convert_takes_a_weight_file_and_trims_it(run: Run, tmp_path: Path) -> None:
    model = random_model(n_layer=1)
    file = write_bin(tmp_path / "in", model, state_of(model)) / "pytorch_model.bin"
    config = tmp_path / "config.json"
    config.write_text((tmp_path / "in" / "config.json").read_text().replace("48", "40"))
    words = ("convert", file, tmp_path / "out", "--config", config)
    assert "--trim-vocabulary" in run(*words, code=1).stderr
    result = run(*words, "--trim-vocabulary")
    assert "from 48 to 40 rows" in result.stdout
    assert parsed(run("inspect", tmp_path / "out", "--json"))["vocab_size"] == 40

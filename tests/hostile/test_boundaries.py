"""What a caller of the library meets: errors of the package only, texts that are safe to print."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from cpm_lm.checkpoints.source import open_source
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError, CpmError
from cpm_lm.escaping import escaped
from tests.hostile.harness import LIMIT_CPU, LIMIT_MEMORY, SLACK, run_verb
from tests.hostile.models import HEADER, VALUES, write_json, write_weights


def test_every_error_escapes_what_it_quotes() -> None:
    """Each raise had to remember it, and one in three did not."""
    error = CheckpointError("a \x1b]0;title\x07 b \u202e c \x9b d\n e \u2028 f \U000e0041")
    assert str(error) == r"a \x1b]0;title\x07 b \u202e c \x9b d e \u2028 f \U000e0041"
    assert str(CpmError()) == ""
    assert isinstance(pickle.loads(pickle.dumps(error)), CheckpointError)


def test_text_of_any_language_is_not_escaped() -> None:
    plain = "中文，「引号」 日本語 한국어 עברית العربية français 🙂 \u3000 x\udc80"
    assert escaped(plain) == plain


def test_a_message_has_a_limit() -> None:
    assert len(str(CpmError("x" * 10**6))) <= 4000
    assert str(CpmError("begin" + "x" * 10**6 + "end")).endswith("end")


@pytest.mark.parametrize(
    "value",
    [10**5000, -(10**5000), "x" * 10**6, [[]], float("nan"), None],
    ids=["large", "small", "text", "list", "NaN", "null"],
)
@pytest.mark.parametrize("field", ["n_embd", "n_layer", "n_head", "vocab_size", "n_positions"])
def test_a_configuration_of_any_value_is_our_error(field: str, value: object) -> None:
    """str() of an integer of 5,000 digits is a ValueError, also within a message."""
    sound = {"vocab_size": 8, "n_positions": 4, "n_embd": 4, "n_layer": 1, "n_head": 2}
    with pytest.raises(ConfigError, match=field) as raised:
        GPTConfig.from_json({**sound, field: value})
    assert len(str(raised.value)) < 300


def test_notes_and_names_are_escaped(tmp_path: Path) -> None:
    name = "\x9b31mx."
    entries = json.loads(HEADER)
    renamed = {key if key == "__metadata__" else f"y.{key}": at for key, at in entries.items()}
    write_weights(tmp_path, json.dumps(renamed), VALUES)
    config = json.loads((tmp_path / "config.json").read_text())
    write_json(tmp_path, "config.json", json.dumps({**config, f"_{name}": 1}))
    source = open_source(tmp_path)
    assert source.notes
    assert all(note.isprintable() for note in (*source.notes, *source.ignored))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocab.txt"])
def test_a_pipe_in_place_of_a_file_is_one_line(tmp_path: Path, name: str) -> None:
    write_weights(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    code, stderr, cpu, memory = run_verb("inspect", "--no-digests", tmp_path)
    assert code in ((0,) if name == "vocab.txt" else (1,))
    assert stderr.count("\n") == (code == 1)
    assert "Traceback" not in stderr
    assert cpu < SLACK * LIMIT_CPU
    assert memory < SLACK * LIMIT_MEMORY

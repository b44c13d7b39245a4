"""End to end: two shards in the original's layout give the same Chinese text on two engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.verification.inspect import inspect
from tests.support.make_shards import write_shards

ENGINE = os.environ.get("CPM_TEST_ENGINE", "tensorflow")
PROMPT = "今天天气不错，"


def cpm(*words: Any) -> Any:
    """Run a command in its own process and return the JSON that it prints."""
    command = [sys.executable, "-m", "cpm_lm", *map(str, words), "--json"]
    printed = subprocess.run(command, capture_output=True, check=True)
    assert b"Warning" not in printed.stderr
    return json.loads(printed.stdout)


@pytest.mark.data
@pytest.mark.keras
def test_convert_inspect_sample(shared_data: Path, tmp_path: Path) -> None:
    # CPM-distill's shape with the real vocabulary, and random weights.
    shape: dict[str, Any] = {
        "vocab": 30000,
        "positions": 1024,
        "width": 768,
        "layers": 12,
        "scale": 0.3,
    }
    source = write_shards(tmp_path / "CPM", **shape)
    vocabulary = shared_data / "vocab" / "cpm-1-generate"
    found = cpm("inspect", source)
    assert (found["layout"], found["ranks"], found["n_head"]) == ("deepspeed", 2, 12)
    assert found["parameters"] == 30000 * 768 + 1024 * 768 + 12 * 7_087_872 + 2 * 768

    manifest = cpm("convert", source, tmp_path / "cpm", "--tokenizer", vocabulary)
    assert manifest["parameters"] == found["parameters"]
    assert inspect(tmp_path / "cpm", digests=False).tokenizer

    sample = ["sample", PROMPT, "-m", tmp_path / "cpm", "--max-tokens", 8, "-n", 3, "--seed", 1]
    greedy = {
        engine: cpm(*sample, "--temperature", 0, "--engine", engine)
        for engine in ("reference", "native", ENGINE)
    }
    assert greedy[ENGINE]["engine"] == ENGINE
    texts = [[s["text"] for s in result["samples"]] for result in greedy.values()]
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) == 1
    drawn = [cpm(*sample, "--engine", engine)["samples"] for engine in greedy]
    ids = [[s["token_ids"] for s in samples] for samples in drawn]
    assert ids[0] == ids[1] == ids[2]
    assert len({s["text"] for s in drawn[0]}) == 3

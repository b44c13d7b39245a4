"""`cpm eval`: results with their protocols, own files, interruptions, plots, real tasks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cpm_lm
from cpm_lm.cli import cpm
from cpm_lm.evaluation.run import evaluate
from cpm_lm.evaluation.task_file import load_task, task_names

MINE = """
name = "mine"
version = 2
title = "mine"
kind = "choice"
normalization = "sum"

[data]
test = "items.jsonl"

[template]
prompt = "{text}"
continuation = "{label}"

[candidates]
field = "choices"
answer = "answer"
"""
ITEMS: list[dict[str, Any]] = [
    {"text": "今天的天空好", "choices": ["火箭", "蓝"], "answer": 1},
    {"text": "1+1=2,1+2=3,1+3=4,1+4=", "choices": ["5", "6", "7"], "answer": 0},
    {"text": "白日依山尽，黄河入海", "choices": ["流", "暗"], "answer": "流"},
]


def call(*arguments: Any, code: int = 0) -> Result:
    words = ["eval", *map(str, arguments), "--engine", "native", "--threads", "1"]
    result = CliRunner().invoke(cpm, words)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A task file with its data beside it."""
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in ITEMS)
    (tmp_path / "items.jsonl").write_text(lines, "utf-8")
    (tmp_path / "mine.toml").write_text(MINE, "utf-8")
    return tmp_path / "mine.toml"


def test_a_task_of_ones_own_says_what_was_measured(mine: Path) -> None:
    lines = call(mine, "--data", mine.parent).output.splitlines()
    assert lines[0] == "mine v2: 100.0% ± 0.0% (chance 44.4%)"
    assert [word for word in lines[1].split() if "%" not in word] == [
        "sum",
        "per_token",
        "per_character",
        "per_byte",
        "pmi",
    ]
    assert lines[2].startswith("  3 items, 0 shortened, protocol standard, 0 shots, seed 0, ")
    with cpm_lm.load() as model:
        assert lines[3] == f"  model {model.digest[:12]}, native, cpm-lm {version('cpm-lm')}"


def test_the_list_has_every_task_and_an_unknown_one_names_the_nearest() -> None:
    lines = call("list").output.splitlines()
    assert [line.split()[0] for line in lines] == task_names()
    assert "expected tnews" in call("tnwes", "--data", ".", code=1).output
    assert "list takes no --json" in call("list", "--json", "x.json", code=2).output


def test_json_holds_every_item_and_nothing_else_is_left(mine: Path) -> None:
    target = mine.parent / "out.json"
    call(mine, "--data", mine.parent, "--json", target)
    told = json.loads(target.read_text("utf-8"))
    assert told == json.loads(call(mine, "--data", mine.parent, "--json", "-").output)
    (result,) = told["results"]
    assert [outcome["answer"] for outcome in result["outcomes"]] == ["蓝", "5", "流"]
    assert {"task_digest", "data_digest", "model_digest", "package", "engine"} <= result.keys()
    left = sorted(path.name for path in mine.parent.iterdir())
    assert left == ["items.jsonl", "mine.toml", "out.json"]


def test_several_tasks_and_another_model(mine: Path) -> None:
    output = call(mine, "arithmetic", "--data", mine.parent, "--limit", 2, "--against", "demo")
    lines = output.output.splitlines()
    assert [line.split()[0] for line in lines if " v" in line] == ["mine", "arithmetic"]
    same = [line for line in lines if "McNemar p = 1" in line]
    assert len(same) == 2
    assert all(", +0.0% (95% from +0.0% to +0.0%)" in line for line in same)
    assert "given twice" in call(mine, mine, "--data", mine.parent, code=1).output


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_a_plot_is_a_picture_also_beside_json(mine: Path, suffix: str) -> None:
    picture = mine.parent / f"plot.{suffix}"
    words = (mine, "arithmetic", "--data", mine.parent, "--limit", 2, "--plot", picture)
    json.loads(call(*words, "--json", "-").output)
    content = picture.read_bytes()
    if suffix == "svg":
        assert b"</svg>" in content
        return
    from matplotlib.image import imread

    pixels = imread(picture)
    assert min(pixels.shape[:2]) > 200
    assert len({tuple(pixel) for row in pixels[::4, ::4, :3] for pixel in row.tolist()}) > 3


@pytest.mark.parametrize(("path", "said"), [("a.jpg", "unsupported format"), ("no/a.png", "no di")])
def test_a_plot_that_cannot_be_written_is_refused_first(mine: Path, path: str, said: str) -> None:
    output = call(mine, "--data", mine.parent, "--plot", mine.parent / path, code=1).output
    assert said in output
    assert len(output.splitlines()) == 1


def test_a_character_that_no_font_has_is_said_before_anything_is_measured(mine: Path) -> None:
    mine.write_text(MINE.replace('"mine"', '"\\U000F1234"'), "utf-8")  # a private character
    output = call(mine, "--data", mine.parent, "--plot", mine.parent / "a.png", code=1).output
    assert "no installed font has all characters" in output
    assert len(output.splitlines()) == 1


def test_the_bad_line_of_a_later_task_is_named_before_anything_is_measured(mine: Path) -> None:
    (mine.parent / "later.toml").write_text(
        MINE.replace('"mine"', '"later"').replace("items.jsonl", "later.jsonl"), "utf-8"
    )
    later = [*ITEMS, {"text": "天", "choices": ["一", "二"]}]
    (mine.parent / "later.jsonl").write_text("\n".join(map(json.dumps, later)), "utf-8")
    words = (mine, mine.parent / "later.toml", "--data", mine.parent)
    output = call(*words, code=1).output
    assert "later.jsonl:4 has no field 'answer'" in output
    assert len(output.splitlines()) == 1


def test_a_json_that_cannot_be_written_is_said_before_anything_is_measured(mine: Path) -> None:
    output = call(mine, "--data", mine.parent, "--json", mine.parent / "no/a.json", code=1).output
    assert len(output.splitlines()) == 1
    assert not (mine.parent / "no").exists()


def test_json_into_a_pipe(mine: Path) -> None:
    """A state beside /dev/fd/63, as a shell's >(...) gives it, cannot be written."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    pipe = mine.parent / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        call(mine, "--data", mine.parent, "--json", pipe)
        told, _ = reader.communicate(timeout=60)
    assert json.loads(told)["results"][0]["task"] == "mine"
    assert pipe.is_fifo()


def test_an_interrupted_run_of_two_tasks_goes_on_where_it_was(mine: Path) -> None:
    """Tasks that were done when Ctrl-C came were measured again."""
    target, state = mine.parent / "out.json", mine.parent / "out.json.many.partial"
    many = MINE.replace('"mine"', '"many"').replace("items.jsonl", "many.jsonl")
    (mine.parent / "many.toml").write_text(many, "utf-8")
    words = ["eval", str(mine), str(mine.parent / "many.toml"), "--data", str(mine.parent)]
    lines = [json.dumps({**ITEMS[i % 3], "text": f"{i}" * 40}) for i in range(4000)]
    (mine.parent / "many.jsonl").write_text("\n".join(lines), "utf-8")
    code = "from cpm_lm.cli import main; main()"
    words += ["--json", str(target), "--engine", "native"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        until = time.monotonic() + 60
        while time.monotonic() < until and not (state.exists() and state.stat().st_size > 3000):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"interrupted; the same command continues from" in errors
    assert b"Traceback" not in errors
    assert not target.exists()
    done = state.read_text("utf-8").splitlines()
    # Fewer items, so that the rest is quick: the whole run is of another kind and is refused.
    assert "items differs" in call(*words[1:], "--limit", 50, code=1).output
    assert state.read_text("utf-8").splitlines() == done
    assert (mine.parent / "out.json.mine.partial").exists()


@pytest.mark.data
def test_the_4way_tnews_twice(shared_data: Path) -> None:
    words = ("tnews", "--data", shared_data / "tasks/fewclue/tnews", "--protocol", "4way")
    first, second, other = (
        call(*words, "--seed", seed, "--limit", 6, "--json", "-").output for seed in (1, 1, 2)
    )
    assert first == second
    assert json.loads(first)["results"][0]["chance"] == 0.25
    assert first != other


@pytest.mark.data
@pytest.mark.parametrize("name", task_names())
def test_every_task_of_the_package_reads_its_real_data(name: str, shared_data: Path) -> None:
    task = load_task(name)
    protocol = "4way" if "4way" in task.protocols else None
    with cpm_lm.load(engine="native") as model:
        found = evaluate(model, name, shared_data / "tasks", protocol=protocol, limit=2, seed=1)
    assert found.items == 2
    chance = {"chid": 1 / 7, "ocnli": 1 / 3, "tnews": 1 / 4, "iflytek": 1 / 4}.get(name, 1 / 2)
    if task.kind == "generate":
        assert found.chance is None
    elif name.startswith("c3"):  # two to four answers
        assert found.chance is not None
        assert 1 / 4 <= found.chance <= 1 / 2
    else:
        assert found.chance == pytest.approx(chance)

"""The task that docs/tasks.md adds is read from the page, and prints what the page shows."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpm_lm.cli import cpm
from cpm_lm.evaluation.task_file import load_task, task_names
from recipes.demo import tasks
from tests.support.pages import blocks, commands

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/tasks.md").read_text("utf-8")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_example_runs(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (task,) = blocks(PAGE, "toml")
    (data,) = blocks(PAGE, "json")
    (tmp_path / "capitals.toml").write_text(task, "utf-8")
    (tmp_path / "capitals.jsonl").write_text(data, "utf-8")
    monkeypatch.chdir(tmp_path)
    page = PAGE if language == "zh" else (ROOT / "docs/tasks.en.md").read_text("utf-8")
    ((command, output),) = commands(page)
    runner = CliRunner(env={"CPM_LANG": language})
    result = runner.invoke(cpm, [*shlex.split(command)[1:], "--engine", "native"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith(output)


def test_the_page_has_every_task_with_its_protocols() -> None:
    rows = re.findall(r"^\| ([a-z0-9、 -]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", PAGE, re.MULTILINE)
    told = {
        name: set(re.findall("`(\\w+)`", protocols))
        for names, protocols in rows
        for name in names.split("、")
    }
    assert {name: set(load_task(name).protocols) for name in task_names()} == told


def test_both_pages_have_the_measured_table() -> None:
    """The figures are those of the kept results; each run is a protocol that the task has."""
    from benchmarks.pages import block, translated, twin

    measured = json.loads(tasks.RESULTS.read_text("utf-8"))
    ran = [(found["task"], found["protocol"], found["items"]) for found in measured["results"]]
    assert ran == list(tasks.RUNS)
    for name, protocol, _ in ran:
        assert protocol in load_task(name).protocols
    english = tasks.table(measured)
    for page in tasks.PAGES:
        assert block(twin(page), tasks.MARK) == english
        assert block(page, tasks.MARK) == translated(english, tasks.PHRASES)


def test_results_are_of_the_tasks_as_they_are() -> None:
    """Whoever changes a task measures again."""
    measured = json.loads(tasks.RESULTS.read_text("utf-8"))
    for found in measured["results"]:
        assert found["task_digest"] == load_task(found["task"]).digest

"""The harness itself: what it measures, and that it tells a crash from an error."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.harness import LIMIT_CPU, LIMIT_MEMORY, Server, run_verb

DEMO = Path(__file__).parents[2] / "src" / "cpm_lm" / "demo"


def test_a_good_model_is_readable_and_nothing_is_an_error(server: Server, tmp_path: Path) -> None:
    good = server.read(DEMO)
    assert (good.kind, good.ours) == ("readable", True)
    nothing = server.read(tmp_path)
    assert (nothing.kind, nothing.ours) == ("CheckpointError", True)
    assert nothing.memory < LIMIT_MEMORY


def test_a_verb_is_measured_as_the_user_runs_it(tmp_path: Path) -> None:
    code, stderr, cpu, memory = run_verb("inspect", tmp_path)
    assert code == 1
    assert stderr.startswith("cpm: ")
    assert stderr.count("\n") == 1
    assert 0 < cpu < 10 * LIMIT_CPU
    assert abs(memory) < LIMIT_MEMORY


def test_memory_and_crashes_are_seen(server: Server, tmp_path: Path) -> None:
    wanted = tmp_path / "size"
    wanted.write_text("400000000")
    greedy = server.read(wanted, "misbehave")
    assert greedy.kind == "readable"
    assert 390e6 < greedy.memory < 500e6
    wanted.write_text("-1")
    crashed = server.read(wanted, "misbehave")
    assert (crashed.kind, crashed.ours) == ("killed by SIGABRT", False)
    assert server.read(DEMO).ours  # the server itself goes on

"""The figure of decode speed is read from the block that the benchmark writes."""

import importlib
import itertools
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = """
<!-- begin: written by `python -m benchmarks.decode --layers 8` -->
8 x 2560, 709 M parameters, 2 threads, 5 rounds. A machine.

- 20.5 (19.0–21.0) GB/s read
- 150.0 (140.0–151.0) GFLOP/s float32

| implementation | bits | decode tok/s (quartiles) | of bandwidth | x llama |
|---|---|---|---|---|
| ours:f32 | 32 | 7.0 (6.9–7.1) | 96% | 1.10 |
| llama.cpp:Q4_0 | 4 | 31.5 (31.0–32.0) | 70% |  |
| peer:int8 | FAILED: logits differ by 0.1 deviations, 0.06 allowed |

- ours:f32: 0.1; f32 | 32 | 9.9 (
<!-- end: written by `python -m benchmarks.decode --layers 8` -->
| other | 8 | 99.0 (98.0–99.5) | 70% |  |
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("decode_figure")


def test_only_the_block_is_read(script):
    run = script.measured(BLOCK)
    assert run.points == [("ours:f32", 32, 7.0), ("llama.cpp:Q4_0", 4, 31.5)]
    assert run.bandwidth == (20.5e9, 19e9, 21e9)
    assert run.weights == 709e6 - 1024 * 2560
    assert not run.void
    assert script.measured(
        BLOCK.replace("\n- ours", "\nVOID: shares of read bandwidth\n- ours")
    ).void


def test_a_page_without_figures_has_no_picture(script):
    assert script.measured("") is None
    assert script.measured(BLOCK.replace("GB/s read", "")) is None


def test_every_row_of_the_page_is_read(script):
    page = script.PAGE.read_text("utf-8")
    block = page.partition(f"begin: {script.MARK}")[2].partition(f"end: {script.MARK}")[0]
    rows = [row for row in block.splitlines() if row.startswith("| ") and "FAILED" not in row][1:]
    run = script.measured(page)
    assert [name for name, _, _ in (run.points if run else [])] == [row.split()[1] for row in rows]


def test_labels_do_not_overlap_and_stay_inside(script):
    placed = script.labels([100.0, 101.0, 300.0, script.BOTTOM - 2.0, script.BOTTOM - 1.0])
    assert all(below - above >= script.GAP for above, below in itertools.pairwise(placed))
    assert placed[-1] < script.BOTTOM

"""The benchmark of scores: both ways give the same scores, and the table has a cell for each."""

from __future__ import annotations

from functools import partial

import pytest

import cpm_lm
from benchmarks import scoring
from cpm_lm.decoding.path_scores import Path as TokenPath

WORK = [
    [TokenPath((7, 11, 13, 5), 3), TokenPath((7, 11, 13, 6, 9), 3)],
    [TokenPath((7, 20, 21), 2), TokenPath((7, 20, 22), 2), TokenPath((7, 20, 23), 2)],
]


def test_both_ways_give_the_same_scores(
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = cpm_lm.open_engine(cpm_lm.DEMO, engine="native", threads=1)
    calls = {
        "shared": partial(scoring.shared, engine, WORK),
        "apart": partial(scoring.apart, engine, WORK),
    }
    found = scoring.measure("c3", WORK, calls, 2)
    # 7 11 13 and 6 once; 7 20 once. The last token of a path is predicted, not computed.
    assert (found["rows_shared"], found["rows_apart"]) == (4 + 2, 3 + 4 + 3 * 2)
    assert max(found["differences"].values()) < scoring.TOLERANCE
    assert [len(found["seconds"][name]) for name in calls] == [2, 2]
    assert "of 0.538 possible" in capsys.readouterr().out
    table = scoring.table([found | {"model": "demo", "bits": "f32"}]).splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert table[-1].startswith("| demo | f32 | 2 c3 | 6 | 13 | ")
    assert table[-1].count("|  |  |") == 1  # what was not run stays empty

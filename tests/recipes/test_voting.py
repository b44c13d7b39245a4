"""The recipe's table on the pages on voting; nothing is measured."""

from __future__ import annotations

import pytest

from benchmarks.pages import block, twin
from recipes.voting import __main__ as voting


@pytest.mark.parametrize(
    ("page", "language"), [(voting.PAGE, "chinese"), (twin(voting.PAGE), "english")]
)
def test_the_page_has_the_table_that_the_recipe_writes(page, language):
    head, rule, *rows = block(page, voting.MARK).splitlines()
    assert [head, rule] == voting.table([], language)
    names = [row.split(" | ")[0].removeprefix("| ") for row in rows if row.startswith("|")]
    assert names == [getattr(method, language) for method in voting.METHODS]


def test_every_language_has_the_same_figures():
    method = voting.METHODS[0]
    result = voting.Result(
        method=method, correct=0.5, error=0.1, proven=0.0, rows=70.4, seconds=0.014
    )
    assert voting.cells(result, "english")[1:] == ["50.0% ± 10.0%", "", "70", "0.01"]
    assert voting.cells(result, "english")[1:] == voting.cells(result, "chinese")[1:]

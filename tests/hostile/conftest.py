"""One server for all tables of hostile files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.harness import Server, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running() as started:
        yield started

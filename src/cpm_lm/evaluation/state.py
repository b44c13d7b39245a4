"""What is done of a run, kept in a file, so that an interrupted run is continued.

Knows outcomes and JSON lines; does not know models. The first line says what is measured; a file of
another run is refused, not overwritten.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.result import Outcome

__all__ = ["RunState"]


class RunState:
    """The outcomes so far; a context manager that removes the file when the run has ended well.

    Args:
        path: the file; None: nothing is kept.
        about: what is measured.

    Raises:
        ConfigError: the file is of another run, or cannot be read or written.
    """

    def __init__(self, path: str | Path | None, about: Mapping[str, Any]) -> None:
        self.outcomes: list[Outcome] = []
        self.rows = 0
        self._path = None if path is None else Path(path)
        self._file: IO[str] | None = None
        if self._path is not None:
            self._open(self._path, dict(about))

    def add(self, outcomes: Sequence[Outcome], rows: int) -> None:
        """Keep the outcomes of a batch and the rows that it computed."""
        self.outcomes += outcomes
        self.rows += rows
        if self._file is not None:
            told = {"outcomes": [dataclasses.asdict(each) for each in outcomes], "rows": rows}
            self._file.write(json.dumps(told, ensure_ascii=False) + "\n")
            self._file.flush()

    def __enter__(self) -> RunState:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            if error is None and self._path is not None:
                self._path.unlink()

    def _open(self, path: Path, about: dict[str, Any]) -> None:
        """Read what is done; a last line that is not whole was interrupted, and is dropped."""
        try:
            text = path.read_text("utf-8") if path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            lines = [json.loads(line) for line in whole.splitlines()]
            if lines and lines[0] != about:
                key = next(
                    (
                        k
                        for k in about
                        if not isinstance(lines[0], dict) or lines[0].get(k) != about[k]
                    ),
                    "another key",
                )
                raise ConfigError(
                    "{path} is of another run ({key} differs); give another file, or remove it",
                    path=path,
                    key=key,
                )
            for line in lines[1:]:
                self.outcomes += [Outcome(**each) for each in line["outcomes"]]
                self.rows += line["rows"]
            self._file = path.open("w", encoding="utf-8")
            self._file.write(whole or json.dumps(about, ensure_ascii=False) + "\n")
            self._file.flush()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                "{path} cannot be read or written: {error}", path=path, error=error
            ) from None

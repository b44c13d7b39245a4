"""What is done of a run, kept in a file, so that an interrupted run is continued.

Knows outcomes and JSON lines; does not know models. The first line says what is measured; a file of
another run is refused, not overwritten. The file is locked while a run writes it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.result import Outcome
from cpm_lm.storage.locks import try_lock

__all__ = ["RunState"]


class RunState:
    """The outcomes so far; a context manager that closes the file, and removes one without any.

    Args:
        path: the file; None: nothing is kept.
        about: what is measured.

    Raises:
        ConfigError: the file is of another run, is being written by one, or cannot be read or
            written.
    """

    def __init__(self, path: str | Path | None, about: Mapping[str, Any]) -> None:
        self.outcomes: list[Outcome] = []
        self.rows = 0
        self._path = None if path is None else Path(path)
        self._file: IO[bytes] | None = None
        if self._path is not None:
            self._open(self._path, dict(about))

    def add(self, outcomes: Sequence[Outcome], rows: int) -> None:
        """Keep the outcomes of a batch and the rows that it computed."""
        self.outcomes += outcomes
        self.rows += rows
        self._write({"outcomes": [dataclasses.asdict(each) for each in outcomes], "rows": rows})

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
            if not self.outcomes and self._path is not None:
                self._path.unlink(missing_ok=True)

    def _write(self, told: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(_line(told))
            self._file.flush()

    def _open(self, path: Path, about: dict[str, Any]) -> None:
        """Read what is done; a last line that is not whole was interrupted, and is dropped."""
        if path.exists() and not path.is_file():
            raise ConfigError("{path} is not a file; give another path", path=path)
        try:
            with contextlib.ExitStack() as stack:
                self._file = stack.enter_context(path.open("a+b"))
                _lock(self._file, path)
                self._read(self._file, about, path)
                stack.pop_all()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                "{path} cannot be read or written: {error}", path=path, error=error
            ) from None

    def _read(self, file: IO[bytes], about: Mapping[str, Any], path: Path) -> None:
        file.seek(0)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and not _line(about).startswith(content):
            raise ValueError("it is not what an interrupted run leaves")
        self._take([json.loads(line) for line in whole.decode().splitlines()], about, path)
        file.truncate(len(whole))
        if not whole:
            self._write(about)

    def _take(self, lines: Sequence[Any], about: Mapping[str, Any], path: Path) -> None:
        """Take over the outcomes of a file's lines, the first of which says what is measured."""
        if lines and lines[0] != about:
            there = lines[0] if isinstance(lines[0], dict) else {}
            key = next((k for k in about if there.get(k) != about[k]), "another key")
            raise ConfigError(
                "{path} is of another run ({key} differs); give another file, or remove it",
                path=path,
                key=key,
            )
        for line in lines[1:]:
            self.outcomes += [Outcome(**each) for each in line["outcomes"]]
            self.rows += line["rows"]


def _line(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False).encode() + b"\n"


def _lock(file: IO[bytes], path: Path) -> None:
    """Lock a file until it is closed.

    Raises:
        ConfigError: another process has locked it.
    """
    try:
        locked = try_lock(file.fileno())
    except OSError:
        return  # a network file system without lock support
    if not locked:
        raise ConfigError(
            "{path} is being written by another run; wait for it, or give another file",
            path=path,
        )

"""Temporary directories that also a killed process does not leave for ever.

Knows names and locks; does not know what is written. The next call with the same prefix removes the
directories of processes that have ended.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpm_lm.storage.directory import Directory
from cpm_lm.storage.owned import owned
from cpm_lm.storage.signals import cleaning_on_signals

__all__ = ["temporary_directory"]

RANDOM = 8
"""Random bytes in a name."""


@contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """Yield a new private directory on the disk that TMPDIR names; remove it after the block.

    Args:
        prefix: the beginning of its name. Directories with it whose process has ended are removed.

    Raises:
        OSError: it cannot be made.
    """
    with cleaning_on_signals(), Directory.open(Path(tempfile.gettempdir())) as parent:
        _remove_left(parent, prefix)
        name = f"{prefix}{secrets.token_hex(RANDOM)}"
        with owned(parent, name) as held:
            assert held is not None
            yield held.path


def _remove_left(parent: Directory, prefix: str) -> None:
    pattern = re.compile(rf"{re.escape(prefix)}[0-9a-f]{{{2 * RANDOM}}}")
    for name in parent.names():
        if pattern.fullmatch(name):
            # BusyError: its process runs. NotOursError: another user's, or another program's.
            with contextlib.suppress(OSError), owned(parent, name, create=False):
                pass

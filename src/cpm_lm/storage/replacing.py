"""The hidden directory beside a target, and how a replacement is undone that a kill cut short.

Knows its name and what is in it; does not know how a target is written. A system that cannot
exchange two names in one step moves the old target there first. If the process is killed then, the
old target is missing under its name until `put_back` returns it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
import unicodedata
from pathlib import Path

from cpm_lm.storage.directory import Directory
from cpm_lm.storage.owned import BusyError, owned

__all__ = ["OLD", "hidden_name", "put_back", "return_old"]

OLD = "old"
"""The name in the hidden directory of what is replaced, between two renames."""
LONGEST = 100
"""The bytes of a target's name that its hidden name repeats; a longer one is hashed, because file
systems allow 255 bytes, and some 143."""
SWAP_SECONDS = 2.0
"""How long `put_back` waits for a process that is between two renames."""


def put_back(path: Path) -> None:
    """If a process was killed while it replaced `path`, return the old directory to its name.

    Does nothing, and costs one look at the directory, if `path` exists or was not being replaced.
    """
    with contextlib.suppress(OSError, RuntimeError, ValueError):  # a loop of links, a NUL
        if path.exists():
            return
        target = path.resolve()
        hidden = target.with_name(hidden_name(target.name))
        end = time.monotonic() + SWAP_SECONDS
        while not target.exists() and (hidden / OLD).is_dir() and time.monotonic() < end:
            with Directory.open(target.parent) as parent:
                try:
                    with owned(parent, hidden.name, create=False) as work:
                        if work is not None:
                            return_old(work, parent, target.name)
                except BusyError:  # a live process is between its two renames
                    time.sleep(0.01)


def hidden_name(name: str) -> str:
    """Return the name of the hidden directory for a target's name."""
    if os.name == "nt" or sys.platform == "darwin":  # where names differ in case, files do not
        name = unicodedata.normalize("NFC", name).casefold()
    data = os.fsencode(name)
    kept = name if len(data) <= LONGEST else hashlib.sha256(data).hexdigest()[:32]
    return f".{kept}.cpm-partial"


def return_old(work: Directory, parent: Directory, name: str) -> None:
    """Undo the first of two renames, if a process was killed after it."""
    if work.status(OLD) is not None and parent.status(name) is None:
        work.rename(OLD, parent, name)

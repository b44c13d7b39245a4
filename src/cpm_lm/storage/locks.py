"""Lock an open file without waiting; the system releases the lock if the process ends.

Knows the systems' locks; does not know what the file is for.
"""

from __future__ import annotations

import os
import sys

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["try_lock"]


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process; return False if another process holds the lock.

    Raises:
        OSError: the file system has no locks, as some network file systems.
    """
    try:
        if sys.platform == "win32":
            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True

"""Exchange two names in one step, where the system can: Linux and macOS.

Knows the two system calls; does not know what the names are. Python has no function for them.
Sources: renameat2(2) with RENAME_EXCHANGE; renameatx_np(2) with RENAME_SWAP.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from cpm_lm.storage.directory import Directory

__all__ = ["exchange"]

EXCHANGE = {"linux": ("renameat2", 2), "darwin": ("renameatx_np", 2)}
"""The system call and its flag."""
UNSUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""The errors of a system or a file system that does not know the call."""


def exchange(one: Directory, name: str, other: Directory, second: str) -> bool:
    """Exchange two names that both exist; return False, with nothing done, where this is unknown.

    Raises:
        OSError: the system refuses it.
    """
    call, flag = EXCHANGE.get(sys.platform, ("", 0))
    if not call or one.descriptor is None or other.descriptor is None:
        return False
    function = getattr(ctypes.CDLL(None, use_errno=True), call, None)
    if function is None:
        return False
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
    function.argtypes = (*function.argtypes, ctypes.c_uint)
    paths = os.fsencode(name), os.fsencode(second)
    if function(one.descriptor, paths[0], other.descriptor, paths[1], flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(other.path / second))

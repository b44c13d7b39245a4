"""The version of the installed package.

Knows its metadata; does not know anything else.
"""

from __future__ import annotations

__all__ = ["version"]


def version() -> str:
    """Return the version of the installed cpm-lm; "unknown" if only its source files are here."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed  # takes 15 ms, and most runs need none

    try:
        return installed("cpm-lm")
    except PackageNotFoundError:
        return "unknown"

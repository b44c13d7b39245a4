"""Words out of files, made fit for an error message.

Knows text only.
"""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: object, limit: int = 200) -> str:
    """Return one printable line, whatever a hostile file put into the text."""
    return ascii(str(text))[1:-1][:limit]

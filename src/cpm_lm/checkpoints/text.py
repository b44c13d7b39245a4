"""Text from files, sanitized for error messages.

Knows strings; does not know files.
"""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: object, limit: int = 200) -> str:
    r"""Return one printable ASCII line of at most `limit` characters.

    A file may hold any text: line breaks or terminal control codes are escaped.

    >>> one_line("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    """
    return ascii(str(text))[1:-1][:limit]

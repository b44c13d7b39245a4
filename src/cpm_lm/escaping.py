"""Text that is safe to print: what a file holds must not act on the terminal that shows it.

Knows characters; does not know messages or files.
"""

from __future__ import annotations

import re

__all__ = ["escaped"]

# Control characters (terminal escapes begin with one), separators of lines and paragraphs, marks
# that have no width or turn the direction of writing, and surrogates that stand for no byte of a
# file name (U+DC80 to U+DCFF do, by Python's surrogateescape).
UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udc7f\udd00-\udfff\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e007f]"
)
LONGEST = 4000
"""Characters of a message. What is cut out of a longer one is what some file says of itself."""


def escaped(text: str, limit: int = LONGEST) -> str:
    r"""Return a text on one line, with every character escaped that would act on a terminal.

    Line breaks within it become spaces. Of a text that is too long the middle is left out.

    >>> escaped("a\x1b[31m\n b \u202e")
    'a\\x1b[31m b \\u202e'
    >>> escaped("x" * 5000)[1998:2005]
    'xx ... '
    """
    if len(text) > limit:
        text = f"{text[: limit // 2]} ... {text[len(text) - limit // 2 + 5 :]}"
    text = re.sub("\r?\n *", " ", text)
    return UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)

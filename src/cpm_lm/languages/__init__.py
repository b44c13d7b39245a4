"""The language of what a person reads: messages, notes and help, in Chinese or in English.

The code holds the English text; `chinese/` holds a table from it to the Chinese one, and a test
finds no entry missing or left over. Knows text; does not know what it is about.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

__all__ = ["LANGUAGES", "VARIABLE", "language", "language_named", "later", "tr", "use_language"]

LANGUAGES: Final = ("zh", "en")
VARIABLE: Final = "CPM_LANG"
"""The environment variable that says the language, whatever the locale is."""
WINDOWS_CHINESE: Final = 0x04
"""The primary language of Windows' language identifiers, their low ten bits."""

_chosen: str | None = None


def tr(english: str, /, **fields: Any) -> str:
    """Return a text in the language of the person, its fields filled in.

    Args:
        english: the text as a format string, for example "{path} has {n:,} bytes"; without fields
            it is taken as it is, braces included.
        fields: the values of its fields.

    >>> tr("{n:,} bytes", n=1000)
    '1,000 bytes'
    """
    text = _chinese().get(english, english) if language() == "zh" else english
    return text.format(**fields) if fields else text


def later(english: str) -> str:
    """Mark a constant that `tr` gets later, so that it is found for the table; return it."""
    return english


@cache
def _chinese() -> Mapping[str, str]:
    from cpm_lm.languages.chinese import TEXTS

    return TEXTS


def use_language(name: str | None) -> None:
    """Choose the language of this process, "zh" or "en"; None: by environment and locale."""
    global _chosen
    assert name is None or name in LANGUAGES
    _chosen = name


def language() -> str:
    """Return the language: the one chosen, else `CPM_LANG`'s, else the locale's."""
    return _chosen or language_named(os.environ.get(VARIABLE, "")) or _of_locale()


def language_named(name: str) -> str | None:
    """Return the language that a locale's name says; None: neither Chinese nor English.

    >>> language_named("zh_CN.UTF-8"), language_named("en"), language_named("C.UTF-8")
    ('zh', 'en', None)
    """
    short = name.replace("-", "_").partition("_")[0].partition(".")[0].lower()
    return {"zh": "zh", "chinese": "zh", "en": "en", "english": "en"}.get(short)


def _of_locale() -> str:
    """Return the locale's language as POSIX and gettext order its variables; others: English."""
    environ = os.environ
    locale = next((environ[v] for v in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(v)), "")
    if not locale and sys.platform == "win32":
        import ctypes

        ours = ctypes.windll.kernel32.GetUserDefaultUILanguage() & 0x3FF
        return "zh" if ours == WINDOWS_CHINESE else "en"
    if locale.partition(".")[0] in ("C", "POSIX"):
        return "en"
    wishes = [*environ.get("LANGUAGE", "").split(":"), locale]
    return next((known for wish in wishes if (known := language_named(wish))), "en")

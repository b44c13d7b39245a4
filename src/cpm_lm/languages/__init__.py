"""The language of what a person reads: messages, notes and help, in Chinese or in English.

The code holds the English text; `zh.json` holds the Chinese one beside it, by parts of the
program, and a test finds no text missing or left over. Knows text; does not know what it is about.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
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
    if language() != "zh":
        return english.format(**fields) if fields else english
    text = _chinese().get(english, english)
    return text.format(**{k: _shown(v) for k, v in fields.items()}) if fields else text


def _shown(value: Any) -> Any:
    """Return an error of the operating system in Chinese, anything else as it is."""
    if isinstance(value, OSError) and value.strerror:
        return _chinese().get(value.strerror, value.strerror)
    return value


def later(english: str) -> str:
    """Mark a constant that `tr` gets later, so that it is found for the table; return it."""
    return english


@cache
def _chinese() -> Mapping[str, str]:
    parts = json.loads(Path(__file__).with_name("zh.json").read_text("utf-8"))
    return {english: chinese for part in parts.values() for english, chinese in part.items()}


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

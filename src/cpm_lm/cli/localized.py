"""The language of the command line: the option --lang, and click's own texts from our table.

Knows click and the languages; does not know verbs. click looks its texts up by gettext, which wants
compiled files; it imports the function under the name `_`, and this module puts ours there.
"""

from __future__ import annotations

import os
from typing import Any

import click
import click.core
import click.decorators
import click.exceptions
import click.formatting
import click.parser
import click.types

from cpm_lm.languages import LANGUAGES, VARIABLE, language_named, tr, use_language

__all__ = ["check_variable", "choose_language", "translate_click"]

MODULES: tuple[Any, ...] = (
    click.core,
    click.decorators,
    click.exceptions,
    click.formatting,
    click.parser,
    click.types,
)


def translate_click() -> None:
    """Let click take its texts from our table, in the language of the moment."""
    for module in MODULES:
        if hasattr(module, "_"):
            module._ = tr


def check_variable() -> None:
    """Refuse a value of CPM_LANG that names no language.

    Raises:
        click.UsageError: it is neither Chinese nor English.
    """
    said = os.environ.get(VARIABLE, "")
    if said and language_named(said) is None:
        raise click.UsageError(
            tr("CPM_LANG is {said!r}; expected {known}", said=said, known=" or ".join(LANGUAGES))
        )


def choose_language(_: click.Context, __: click.Parameter, value: str | None) -> None:
    """Take the value of --lang: the callback of that option."""
    if value is not None:
        use_language(value)

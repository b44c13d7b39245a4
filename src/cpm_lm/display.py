"""How results are shown: on one line at Python's prompt, as a table with bars in a notebook.

Knows text, numbers and the fields of an object; does not know what they mean.
"""

from __future__ import annotations

import dataclasses
import html
import json
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

__all__ = [
    "ResultList",
    "Row",
    "columns",
    "fields_on_a_line",
    "html_table",
    "on_a_line",
    "percent",
    "quoted",
    "shortened",
    "visible",
]

WIDTH = 100
"""The columns of a line."""
TEXT = 40
"""The columns of a text among other fields."""
SHOWN = 50
"""The items of a list that are shown."""

Row = tuple[str, float | None, str]
"""A text; a number for the length of its bar, or None for no bar; and figures beside it."""
Item = TypeVar("Item")


def columns(text: str) -> int:
    """Return the number of terminal columns of a text; wide East Asian characters take two."""
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shortened(text: str, most: int) -> str:
    """Return a text of at most this many columns; a truncated text ends in …."""
    used, kept = 0, 0  # `kept`: the characters before the …
    for i, character in enumerate(text):
        used += _columns(character)
        if used <= most - 1:
            kept = i + 1
        if used > most:
            return text[:kept] + "…"
    return text


def visible(text: str) -> str:
    """Return a text with control characters escaped, in quotes if spaces surround it."""
    escaped = json.dumps(text, ensure_ascii=False)
    return escaped if text != text.strip() and text.strip("\n") else escaped[1:-1]


def quoted(text: str, most: int = TEXT) -> str:
    r"""Return a text as Python writes it, of at most this many columns, but at least 3.

    >>> print(quoted("一\n二", 20), quoted("床前明月光，疑是地上霜", 12))
    '一\n二' '床前明月…'
    """
    return f"'{shortened(repr(text[: most + 1])[1:-1], most - 2)}'"


def percent(probability: float) -> str:
    """Return a probability in percent with three digits.

    >>> percent(0.4299), percent(0.00000365)
    ('43%', '0.000365%')
    """
    return f"{100 * probability:.3g}%"


def on_a_line(name: str, parts: Iterable[str]) -> str:
    """Return `<name part, part, ...>` on at most WIDTH columns; parts that do not fit are left out.

    >>> on_a_line("Sample", ["'天气很好'", "8 tokens"])
    "<Sample '天气很好', 8 tokens>"
    """
    line = ""
    for part in parts:
        more = f"{line}, {part}" if line else part
        if columns(f"<{name} {more}, …>") > WIDTH:
            return shortened(f"<{name} {line or part}", WIDTH - 4) + ", …>"
        line = more
    return f"<{name} {line}>" if line else f"<{name}>"


def fields_on_a_line(result: Any) -> str:
    """Return a dataclass on one line: the fields that differ from their default, in their order."""
    return on_a_line(type(result).__name__, _fields(result))


def _fields(result: Any) -> Iterator[str]:
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        made = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        if field.repr and not (type(value) is type(default) and value == default):
            yield f"{field.name} {_value(value)}"


def _value(value: Any) -> str:
    """Return a value in a few columns: of many items, their number."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (str, Path)):
        return quoted(str(value))
    if dataclasses.is_dataclass(value):
        return f"<{type(value).__name__}>"
    if isinstance(value, Collection):
        return f"({len(value)})"
    return shortened(visible(repr(value)), TEXT)


class ResultList(list[Item], Generic[Item]):
    """A list that shows one item a line, and in a notebook a table with bars.

    An item may have a method `_row`, which returns its row of the table.
    """

    def __repr__(self) -> str:
        """Return the list as Python writes it, with a line for each item."""
        lines = [shortened(repr(item), WIDTH - 2) for item in self[:SHOWN]]
        lines += [f"… {len(self) - SHOWN:,} more"] if len(self) > SHOWN else []
        return f"[{(',' + chr(10) + ' ').join(lines)}]"

    def _repr_html_(self) -> str:
        """Return a table for a notebook."""
        rows = [item._row() if hasattr(item, "_row") else (repr(item), None, "") for item in self]
        return html_table(rows)


def html_table(rows: Sequence[Row], caption: str = "") -> str:
    """Return a table in HTML; the greatest number has the longest bar. All text is escaped.

    >>> html_table([("<b>", None, "8%")])  # doctest: +ELLIPSIS
    '<table>...&lt;b&gt;...8%</td></tr></table>'
    """
    largest = max((value for _, value, _ in rows if value is not None), default=0.0) or 1.0
    lines = [_line(row, largest) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(_line((f"… {len(rows) - SHOWN:,} more", None, ""), largest))
    title = f"<caption>{_escaped(caption)}</caption>" if caption else ""
    return f"<table>{title}{''.join(lines)}</table>"


def _escaped(text: str) -> str:
    """Return a text for a page, on one line and without lone surrogates, which have no UTF-8."""
    return html.escape(visible(text).encode("utf-8", "replace").decode())


def _line(row: Row, largest: float) -> str:
    text, value, figures = row
    cells = [
        f'<td style="text-align:left;white-space:pre-wrap">{_escaped(text)}</td>',
        f'<td style="text-align:right">{_escaped(figures)}</td>',
    ]
    if value is not None:
        share = max(0.0, min(1.0, value / largest))
        bar = f"background:currentColor;opacity:.4;height:.8em;width:{100 * share:.1f}%"
        cells.insert(1, f'<td style="width:16em"><div style="{bar}"></div></td>')
    return f"<tr>{''.join(cells)}</tr>"

"""Text from bytes: marks of the byte order, and the likely encoding of what is not UTF-8.

Knows encodings; does not know what the text is for.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from cpm_lm.errors import RequestError
from cpm_lm.languages import tr

__all__ = ["decoded", "not_utf8"]

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""How a file says what it is written in."""

COMMON = {"gb18030": range(0xA1, 0xD8), "big5": range(0xA1, 0xC7)}
"""The first bytes of punctuation and of the characters that are used most."""
SURE = 0.6
"""At least this share of a Chinese text are such characters; text read in the wrong encoding is
mostly rare ones."""


def by_iconv(encoding: str) -> str:
    """Return what to do about text in an encoding, where no option reads it."""
    return tr("convert it, for example by iconv -f {encoding} -t utf-8", encoding=encoding)


def decoded(
    what: str,
    data: bytes,
    *,
    encoding: str | None = None,
    advice: Callable[[str], str] = by_iconv,
) -> str:
    """Return the text of bytes, without a mark of the byte order.

    Args:
        what: where the bytes are from, for a message.
        data: the bytes.
        encoding: by default what a mark at the beginning says, else UTF-8.
        advice: returns what to do about text in a likely encoding.

    Raises:
        RequestError: the encoding is unknown, or the bytes are not in it; the message names the
            encoding that they are likely in.
    """
    if encoding is not None:
        return _decoded_in(what, data, encoding)
    marked = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(marked).removeprefix("\ufeff")
    except UnicodeDecodeError:
        if marked == "utf-8":
            raise RequestError(not_utf8(what, data, advice=advice)) from None
        raise RequestError(
            "{what} begins with the mark of {marked} but is not {marked} text; it is "
            "incomplete or damaged",
            what=what,
            marked=marked.upper(),
        ) from None


def _decoded_in(what: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:  # also for codecs that do not decode to text, such as hex
        raise RequestError(
            "encoding {encoding!r} is unknown; expected one such as gb18030, big5 or utf-16",
            encoding=encoding,
        ) from None
    except UnicodeDecodeError as error:
        likely = (
            tr("; it looks like {name}", name=name.upper())
            if (name := likely_encoding(data))
            else ""
        )
        raise RequestError(
            "{what} is not {encoding} (byte {data:#04x} at {start}){likely}",
            what=what,
            encoding=encoding,
            data=data[error.start],
            start=error.start,
            likely=likely,
        ) from None
    except UnicodeError as error:  # the codecs of domain names and such
        raise RequestError(
            "{what} is not {encoding} ({error})", what=what, encoding=encoding, error=error
        ) from None


def not_utf8(what: str, data: bytes, *, advice: Callable[[str], str] = by_iconv) -> str:
    """Return the message for bytes that are not UTF-8, with their likely encoding."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = tr("byte {data:#04x} at {start}", data=data[error.start], start=error.start)
    else:
        at = tr("half a character")
    likely = likely_encoding(data)
    hint = (
        tr("it looks like {likely}: {advice}", likely=likely.upper(), advice=advice(likely))
        if likely
        else tr("give it in UTF-8")
    )
    return tr("{what} is not UTF-8 ({at}); {hint}", what=what, at=at, hint=hint)


def likely_encoding(data: bytes) -> str | None:
    """Return the encoding that bytes are likely in, or None; `utf-8` if they can be that.

    >>> [likely_encoding("今天的天空很蓝".encode(name)) for name in ("gb18030", "utf-8")]
    ['gb18030', 'utf-8']
    >>> likely_encoding("今天的天空".encode("big5"))
    'big5'
    """
    if _readable(data, "utf-8"):
        return "utf-8"
    for name in ("utf-16-le", "utf-16-be"):  # without a mark: ASCII or line ends are zeros
        if b"\0" in data and _readable(data, name):
            return name
    shares = {name: _common(data, name) for name in COMMON if _readable(data, name)}
    best = max(shares, key=shares.__getitem__, default=None)
    return best if best and shares[best] >= SURE else None


def _readable(data: bytes, encoding: str) -> bool:
    """Return whether bytes are printable text in an encoding."""
    try:
        text = data.decode(encoding)
    except UnicodeError:
        return False
    return text.translate(dict.fromkeys(map(ord, "\n\r\t\u3000\ufeff"))).isprintable()


def _common(data: bytes, encoding: str) -> float:
    """Return the share of common characters among those that are not ASCII."""
    encoded = [c.encode(encoding) for c in data.decode(encoding) if not c.isascii()]
    # Of GB18030's characters of two bytes, the older GB2312 has those with two high bytes.
    good = [len(c) == 2 and c[0] in COMMON[encoding] for c in encoded]
    if encoding == "gb18030":
        good = [ok and c[1] >= 0xA1 for ok, c in zip(good, encoded, strict=True)]
    return sum(good) / len(good) if good else 0.0

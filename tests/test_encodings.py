"""Bytes that are not UTF-8 are read by their mark or by name, and never guessed in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.encodings import decoded, likely_encoding
from cpm_lm.errors import RequestError
from tests.support.examples import examples

SIMPLIFIED = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"
TRADITIONAL = "床前明月光，疑是地上霜。舉頭望明月，低頭思故鄉。"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_a_mark_is_honoured_and_is_no_text(encoding: str) -> None:
    assert decoded("x", SIMPLIFIED.encode(encoding)) == SIMPLIFIED
    for endian in ("le", "be"):
        data = f"\ufeff{SIMPLIFIED}".encode(f"utf-16-{endian}")
        assert decoded("x", data) == SIMPLIFIED
        assert decoded("x", data, encoding=f"utf-16-{endian}") == SIMPLIFIED


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (SIMPLIFIED, "gb18030"),
        ("今天", "gb18030"),
        ("1+1=2\n今天的天空很蓝", "gb18030"),
        (TRADITIONAL, "big5"),
        ("今天的天空", "big5"),
        (f"{SIMPLIFIED}\n", "utf-16-le"),
        (f"{SIMPLIFIED}\n", "utf-16-be"),
        (SIMPLIFIED, "utf-8"),
    ],
)
def test_the_likely_encoding_is_named_and_reads_it(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    assert likely_encoding(data) == encoding
    assert decoded("x", data, encoding=encoding) == text
    if encoding != "utf-8":
        with pytest.raises(RequestError, match=f"x is not UTF-8 .* {encoding.upper()}: convert it"):
            decoded("x", data)


@pytest.mark.parametrize("data", [b"\xff", b"\x81", bytes(range(128, 256)), b"a\x80\x00"])
def test_where_no_encoding_fits_none_is_named(data: bytes) -> None:
    assert likely_encoding(data) is None
    with pytest.raises(RequestError, match=r"x is not UTF-8 .*; give it in UTF-8"):
        decoded("x", data)


@settings(max_examples=examples(200), deadline=None)
@given(st.binary(max_size=20), st.sampled_from([None, "gb18030", "utf-16", "idna", "punycode"]))
def test_any_bytes_are_text_or_one_kind_of_error(data: bytes, encoding: str | None) -> None:
    said = "x is text"
    try:
        text = decoded("x", data, encoding=encoding)
    except RequestError as error:
        said, text = str(error), ""
    assert said.startswith("x ")
    assert text[:1] != "\ufeff"


def test_a_damaged_file_with_a_mark_says_so() -> None:
    with pytest.raises(RequestError, match="begins with the mark of UTF-16 but is not UTF-16"):
        decoded("x", b"\xff\xfe\x00")


def test_aliases_are_read_by_their_mark_too(tmp_path: Path) -> None:
    from cpm_lm.generation.answers import read_aliases

    path = tmp_path / "aliases.tsv"
    path.write_bytes("5\t五\n".encode("utf-16"))
    assert read_aliases(path) == {"5": "5", "五": "5"}
    path.write_bytes("首都\t北京\n".encode("gb18030"))
    with pytest.raises(RequestError, match=r"aliases\.tsv is not UTF-8.*GB18030"):
        read_aliases(path)

"""Numbers as people write them, and by which of their forms they are compared.

Knows texts. Numbers in words, as 五, are no numbers here: a pattern finds them, aliases name them.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["EITHER", "SEPARATED", "canonical", "commas_separate", "read", "with_wide_separators"]

SIGN = r"(?:(?<![0-9])[-+\u2212])?"
"""Behind a digit it is a sign of arithmetic: 12-5 holds 12 and 5. U+2212 is the minus sign."""
POINT = r"(?<![0-9A-Za-z.])\.[0-9]+"
"""A fraction without its zero; not the end of `...5` or of `No.5`."""
SEPARATED = rf"{SIGN}(?:[0-9]+(?:\.[0-9]+)?|{POINT})"
"""What a number is where commas separate numbers."""
EITHER = rf"{SIGN}(?:[0-9]+(?:(?:,[0-9]{{3}})+[0-9]*)?(?:\.[0-9]+)?|{POINT})"
"""What a number is where commas may also group its digits; see `read`."""

GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")
LIST = re.compile(r"[0-9],(?![0-9]{3}(?![0-9]))")
WIDE_SEPARATOR = re.compile(r"(?<![０-９])，|，(?![０-９]|\Z)")


def commas_separate(prompt: str) -> bool:
    r"""Return whether a prompt has commas behind numbers that do not group digits.

    >>> commas_separate("1+1=2,1+2=3,1+3="), commas_separate("答：有1,234人")
    (True, False)
    """
    return LIST.search(unicodedata.normalize("NFKC", prompt)) is not None


def with_wide_separators(text: str) -> str:
    """Return a text whose wide commas stay apart from those that group digits, in NFKC.

    People group digits by `,`, and write lists with `，`, which NFKC makes the same.
    """
    return unicodedata.normalize("NFKC", WIDE_SEPARATOR.sub("、", text))


def read(found: str, *, last: bool = False) -> str:
    """Return the number that a match of EITHER or SEPARATED holds, in its canonical form.

    Commas group digits only as in 1,234,567. Otherwise they separate numbers: of `1,2345` the first
    is 1 and the last 2345.

    >>> read("1,234.50"), read("-1,2345"), read("-1,2345", last=True)
    ('1234.5', '-1', '2345')
    """
    sign = found[:1] if found[:1] in "-+\u2212" else ""
    digits = found[len(sign) :]
    if "," not in digits or GROUPED.fullmatch(digits):
        return canonical(sign + digits.replace(",", ""))
    first, _, rest = digits.partition(",")
    return canonical(rest.rpartition(",")[2] if last else sign + first)


def canonical(number: str) -> str:
    """Return the shortest form of a decimal number; equal numbers have the same.

    >>> [canonical(n) for n in ("5", "+5", "5.0", "05", "−5", ".50", "-0.0")]
    ['5', '5', '5', '5', '-5', '0.5', '0']
    """
    negative = number[:1] in ("-", "\u2212")
    whole, _, fraction = number.lstrip("+-\u2212").partition(".")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    size = f"{whole}.{fraction}" if fraction else whole
    return f"-{size}" if negative and size != "0" else size

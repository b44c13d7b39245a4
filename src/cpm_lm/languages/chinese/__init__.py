"""The Chinese texts, one table for each part of the program: from the English text to the Chinese.

Knows text; does not know where it is used.
"""

from cpm_lm.languages.chinese import containers, conversion

TEXTS: dict[str, str] = containers.TEXTS | conversion.TEXTS
"""A text that is in two tables is the same in both, which a test checks."""

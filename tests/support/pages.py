"""The parts of a Markdown page: fenced blocks, headings, links, prose.

Knows Markdown as the documentation uses it; does not know which pages there are.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = [
    "FENCED",
    "blocks",
    "code",
    "commanded",
    "commands",
    "english_page",
    "headings",
    "images",
    "links",
    "prose",
    "sections",
    "table_rows",
    "uncommented",
    "without_code",
]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""The language and the text of a fenced block."""
IMAGE = re.compile(r"!\[[^]]*\]\(([^)]+)\)")
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)]+)\)")


def english_page(page: Path) -> Path:
    """Return the English twin of a Chinese page."""
    return page.with_suffix(".en.md")


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return [inside for name, inside in FENCED.findall(text) if name == language]


def code(text: str) -> list[tuple[str, str]]:
    """Return all fenced blocks: language and text, of a shell its commands without comments.

    What a command prints is in the language of the page.
    """
    return [
        (name, commanded(inside) if name == "console" else _plain(name, inside))
        for name, inside in FENCED.findall(text)
    ]


def commands(text: str) -> list[tuple[str, str]]:
    """Return each command after `$` on a page, and its output."""
    found = []
    for block in blocks(text, "console"):
        for part in block.split("$ ")[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output.rstrip("\n")))
    return found


def commanded(block: str) -> str:
    """Return the lines of a console block that are typed."""
    typed = [line for line in block.splitlines() if line.startswith("$ ")]
    return uncommented("\n".join(typed))


def _plain(name: str, inside: str) -> str:
    return uncommented(inside) if name == "sh" else inside


def uncommented(commands: str) -> str:
    """Return lines of a shell without comments: what begins at a line's start or after a space."""
    return "\n".join(re.split(r"(?:^|\s)#", line)[0].rstrip() for line in commands.splitlines())


def without_code(text: str) -> str:
    """Return a page without fenced blocks."""
    return FENCED.sub("", text)


def headings(text: str) -> list[int]:
    """Return the levels of all headings."""
    return [len(marks) for marks in re.findall(r"^(#+) ", without_code(text), re.MULTILINE)]


def images(text: str) -> list[str]:
    """Return the paths of all pictures."""
    return IMAGE.findall(without_code(text))


def links(text: str) -> list[str]:
    """Return the targets of all links; those of pictures are not among them."""
    return LINK.findall(without_code(text))


def sections(text: str) -> list[str]:
    """Return a page cut at its headings, without fenced blocks."""
    return re.split(r"^#+ ", without_code(text), flags=re.MULTILINE)


def table_rows(text: str) -> list[str]:
    """Return the rows of all tables."""
    return [line for line in without_code(text).splitlines() if line.startswith("|")]


def prose(text: str) -> str:
    """Return what a reader reads: no code, no comments, no targets of links."""
    bare = re.sub(r"<!--.*?-->", "", without_code(text), flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "", bare))

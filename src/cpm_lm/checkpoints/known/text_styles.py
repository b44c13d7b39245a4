"""The text styles of known publishers, for models whose files do not tell it.

Knows names on the hub only. Source: the model cards of uer/gpt2-chinese-*, trained with UER-py.
"""

from __future__ import annotations

__all__ = ["published_style"]

OWNERS = {"uer": "uer"}
"""Text style by the owner's name."""


def published_style(name: str) -> str | None:
    """Return the text style of a model, `owner/name`, or None if its owner is not known."""
    return OWNERS.get(name.split("/")[0].lower())

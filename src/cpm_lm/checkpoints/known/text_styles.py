"""Which convention of texts the publishers of models trained with, where their files may not say.

Knows names on the hub only. Source: the model cards of uer/gpt2-chinese-*, trained by UER-py.
"""

from __future__ import annotations

__all__ = ["published_style"]

OWNERS = {"uer": "uer"}
"""Text style by the owner's name."""


def published_style(name: str) -> str | None:
    """Return the text style of a model's owner, `owner/name`; None: it is not known."""
    return OWNERS.get(name.split("/")[0].lower())

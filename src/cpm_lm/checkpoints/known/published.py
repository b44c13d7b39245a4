"""The models of this family that are published on the Hugging Face hub.

Knows names, sizes and licenses as their publishers state them; does not know files. Sources: the
model cards and file lists of the three models.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PACKAGED", "PUBLISHED", "Published", "license_of", "published_model"]

PACKAGED = "cpm-lm/demo"
"""The origin of the model in the package; its license is the package's."""


@dataclass(frozen=True)
class Published:
    """A model on the hub."""

    name: str
    """`owner/name`; a user may omit the owner."""
    parameters: int
    license: str | None
    """As its page states it; None if it states none."""

    @property
    def short(self) -> str:
        """The name without its owner."""
        return self.name.split("/")[1]

    @property
    def download_bytes(self) -> int:
        """The size of the weights to fetch: all are published in 32 bits."""
        return 4 * self.parameters


PUBLISHED = (
    Published("TsinghuaAI/CPM-Generate", 2_597_073_920, "MIT"),
    Published("mymusise/CPM-Generate-distill", 108_882_432, None),
    Published("uer/gpt2-chinese-cluecorpussmall", 102_068_736, None),
)


def license_of(origin: str | None) -> str | None:
    """Return the license of weights by their recorded origin, `owner/name@commit`, if known."""
    name = (origin or "").split("@")[0]
    if name == PACKAGED:
        return "MIT"
    return next((model.license for model in PUBLISHED if model.name == name), None)


def published_model(name: str) -> Published | None:
    """Return the model of this name, with or without its owner; upper and lower case are equal."""
    wanted = name.casefold()
    return next((m for m in PUBLISHED if wanted in (m.name.casefold(), m.short.casefold())), None)

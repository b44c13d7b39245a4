"""The digests of the published weights, as their publishers gave them.

Knows digests only. Sources: the READMEs of TsinghuaAI/CPM-1-Generate, today's and that of
November 2020, whose files the first TensorFlow port was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["RELEASES", "Release", "known_release"]


@dataclass(frozen=True)
class Release:
    """The digests of one published checkpoint, rank by rank."""

    name: str
    sha1: tuple[str, ...]
    md5: tuple[str, ...]


RELEASES = (
    Release(
        "CPM-LM 2.6B",
        ("71d6b6ad4f47b46724eb82c05da8fb9175e62a7d", "42aa247a262e2011fa5e276f1a8389fad6d80edc"),
        ("f3f6d2f7d84c6a45290a31dabf79ddac", "b0e960be4b5226e759ae6fc5246f9160"),
    ),
    Release(
        "CPM-LM 2.6B, first upload (November 2020)",
        ("7a8461098dae374a836f55bf2002bf21cba05964", "6ab97bd06979c1707080b33cfddff4f08c9af675"),
        ("ffb39d8e477aedf9f8714cc467f34eae", "8af02c1aa85e76a430d45f3ad073edc5"),
    ),
)


def known_release(digests: Sequence[tuple[str, str]]) -> tuple[str | None, list[str]]:
    """Compare the shards of a checkpoint with the published ones.

    Args:
        digests: SHA-1 and MD5 of each shard, in order of rank.

    Returns:
        release: the name of the release that all shards are of, if there is one.
        warnings: a line for every release that only some of the shards are of.
    """
    warnings = []
    for release in RELEASES:
        published = tuple(zip(release.sha1, release.md5, strict=True))
        if tuple(digests) == published:
            return release.name, []
        if same := [rank for rank, pair in enumerate(digests) if pair in published]:
            warnings.append(
                f"{release.name} consists of {len(published)} files; of those found only rank "
                f"{', '.join(map(str, same))} is one of them: the others are damaged or of "
                "another model; download them again"
            )
    return None, warnings

"""The digests of the published weights, as stated by their publishers.

Knows digests; does not know files. Sources: the README of TsinghuaAI/CPM-1-Generate, the current
one and that of November 2020, whose files the first TensorFlow port was converted from; the README
of that port for its own two checkpoints (MD5 only).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cpm_lm.languages import tr

__all__ = ["PACKAGED", "RELEASES", "Release", "known_release"]


@dataclass(frozen=True)
class Release:
    """The digests of one published checkpoint, for each file in order of rank."""

    name: str
    sha1: tuple[str, ...]
    """Empty if the publisher states none."""
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
    Release(
        "CPM-LM 2.6B, first TensorFlow port (cpm-lm-tf2_v2)",
        (),
        ("86b97441fad0a3f2a616bf55f22d866a", "0b7c8b55e1061a0561a5242005015295"),
    ),
    Release(
        "CPM-LM 2.6B, first TensorFlow port in float16 (cpm-lm-tf2-fp16)",
        (),
        ("462fc087aa454887158f353fa0316801", "19bb9afa028a05ea03d4fe52e47d3c48"),
    ),
)

PACKAGED = Release(
    "cpm-lm/demo, the small model in the package (4.3 M)",
    ("c702e6772f5a041790a57918ba0808d8352883e6",),
    ("8100deb4f9cbf7143b24db45dee52df9",),
)
"""Our own model, which a test compares with the package's file."""


def known_release(digests: Sequence[tuple[str, str]]) -> tuple[str | None, list[str]]:
    """Compare the shards of a checkpoint with the published releases.

    Args:
        digests: SHA-1 and MD5 of each file of weights, in order of rank.

    Returns:
        release: the name of the release that all shards belong to; None if there is none.
        warnings: one line for every release that only some of the shards belong to.
    """
    warnings = []
    for release in (*RELEASES, PACKAGED):
        published = list(zip(release.sha1 or ("",) * len(release.md5), release.md5, strict=True))
        found = [(sha1 if release.sha1 else "", md5) for sha1, md5 in digests]
        if found == published:
            return release.name, []
        if same := [rank for rank, pair in enumerate(found) if pair in published]:
            warnings.append(
                tr(
                    "{release_name} has {n_published} files; of the files found only rank "
                    "{same} matches: the others are damaged or from another model; download "
                    "them again",
                    release_name=release.name,
                    n_published=len(published),
                    same=", ".join(map(str, same)),
                )
            )
    return None, warnings

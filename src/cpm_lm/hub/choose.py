"""Which files of a published model are needed: one format of the weights, configuration, tokenizer.

Knows the names of files; does not know what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.hub.listing import RemoteFile
from cpm_lm.languages import tr

__all__ = ["choose_files", "is_weights"]

SHARD = r"(-\d{5}-of-\d{5})"
WEIGHTS = (
    r"model\.safetensors",
    rf"model({SHARD}\.safetensors|\.safetensors\.index\.json)",
    r"pytorch_model\.bin",
    rf"pytorch_model({SHARD}\.bin|\.bin\.index\.json)",
    r"tf_model\.h5",
)
"""File formats of the weights in order of preference; of a sharded format all files are needed."""
CONFIG = "config.json"
TOKENIZER_FILES = frozenset(
    "chinese_vocab.model spiece.model vocab.json vocab.txt tokenizer.json tokenizer_config.json "
    "special_tokens_map.json added_tokens.json text_style.json".split()
)
"""The files that a tokenizer may have."""


def choose_files(name: str, files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return the files to fetch: one format of the weights, the configuration, the tokenizer.

    Raises:
        CheckpointError: there is no configuration, or no format of the weights is complete.
    """
    available = {file.name: file for file in files}
    form = next((form for form in range(len(WEIGHTS)) if _is_complete(form, available)), None)
    if form is None or CONFIG not in available:
        lack = CONFIG if form is not None else tr("weights in a supported format")
        seen = ", ".join(one_line(name, 60) for name in sorted(available)[:12]) or "nothing"
        raise CheckpointError(
            "{name} has no {lack}: expected model.safetensors, pytorch_model.bin or "
            "tf_model.h5, and config.json; found {seen}",
            name=name,
            lack=lack,
            seen=seen,
        )
    tokenizer = TOKENIZER_FILES & available.keys()
    weights = {n for n in available if _weight_format(n) == form}
    wanted = {CONFIG} | tokenizer | weights
    _check_case(wanted, available)
    return [available[n] for n in sorted(wanted)]


def _check_case(wanted: set[str], available: dict[str, RemoteFile]) -> None:
    """Refuse a second file that has a needed one's name in other letters, such as Config.json."""
    folded = {name.casefold() for name in wanted}
    if twice := [name for name in available if name not in wanted and name.casefold() in folded]:
        raise CheckpointError(
            "the model has {twice} beside a file of the same name in other letters; "
            "which one is meant cannot be told",
            twice=one_line(twice[0], 60),
        )


def is_weights(name: str) -> bool:
    """Return whether a file holds weights in a supported format."""
    return _weight_format(name) is not None


def _weight_format(name: str) -> int | None:
    matches = (i for i, pattern in enumerate(WEIGHTS) if re.fullmatch(pattern, name))
    return next(matches, None)


def _is_complete(form: int, available: dict[str, RemoteFile]) -> bool:
    names = [name for name in available if _weight_format(name) == form]
    shards = [name for name in names if re.search(SHARD, name)]
    if not shards:
        return bool(names) and not any(name.endswith(".index.json") for name in names)
    return len(names) == len(shards) + 1 and len(shards) == int(shards[0].split("-of-")[1][:5])

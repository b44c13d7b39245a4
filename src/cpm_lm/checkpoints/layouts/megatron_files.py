"""Find the shards of a Megatron checkpoint below a directory, in DeepSpeed's or Megatron's layout.

Knows file names; does not open shards, only the text file that names the latest training step.
"""

from __future__ import annotations

import re
from pathlib import Path

from cpm_lm.checkpoints.containers.opened import read_limited
from cpm_lm.checkpoints.text import one_line
from cpm_lm.errors import CheckpointError
from cpm_lm.languages import later, tr
from cpm_lm.messages import shortened

__all__ = ["find_shards", "holds_shards", "is_checkpoint_file", "listing"]

TRACKER = "latest_checkpointed_iteration.txt"
DEEPSPEED = re.compile(r"mp_rank_(\d+)_model_states\.pt")
MEGATRON = re.compile(r"mp_rank_(\d+)")
MEGATRON_FILE = "model_optim_rng.pt"
MAX_TRACKER = 4096
"""Bytes of the file that names the training step."""
EXPECTED_FILES = later("mp_rank_XX_model_states.pt or mp_rank_XX/model_optim_rng.pt")


def find_shards(path: Path) -> tuple[str, Path, tuple[Path, ...]]:
    """Return the layout, the directory of the training step, and its shards in order of rank.

    Raises:
        CheckpointError: there are no shards, a rank is missing or duplicated, or there are several
            training steps and no file that names one.
    """
    if path.is_file() and not is_checkpoint_file(path.name):
        raise CheckpointError(
            "{path} is a file of no kind that is read; expected the directory of a "
            "checkpoint, or a weight file (.safetensors, .bin, .pt, .h5)",
            path=path,
        )
    folder = (path if path.is_dir() else path.parent).resolve()
    if MEGATRON.fullmatch(folder.name) and (folder / MEGATRON_FILE).is_file():
        folder = folder.parent
    found = _shards(folder)
    if not found:
        folder = _step_directory(folder)
        found = _shards(folder)
    if not found:
        raise CheckpointError(
            "{folder} holds no shards: expected {expected_files}, found {listing}",
            folder=folder,
            expected_files=tr(EXPECTED_FILES),
            listing=listing(folder),
        )
    layouts = {layout for layout, _, _ in found}
    if len(layouts) > 1:
        raise CheckpointError(
            "{folder} holds shards of two layouts; give each its own directory", folder=folder
        )
    ranks = [rank for _, rank, _ in found]
    files = tuple(file for _, _, file in found)
    # The numbers are any numbers that a file's name can hold: count files, not up to a number.
    for expected, rank in enumerate(ranks):
        if rank < expected:
            names = shortened((one_line(file.name, 60) for file in files), ", ")
            raise CheckpointError(
                "{folder} holds rank {rank} twice: {names}", folder=folder, rank=rank, names=names
            )
        if rank > expected:
            raise CheckpointError(
                "{folder} lacks the shard of rank {expected}: found ranks {ranks}; get "
                "the missing file from the same publisher",
                folder=folder,
                expected=expected,
                ranks=shortened((one_line(number, 20) for number in ranks), ", "),
            )
    return layouts.pop(), folder, files


def holds_shards(path: Path) -> bool:
    """Return whether a directory, or a directory in it, holds shards, or a file is one."""
    if path.is_file():
        return is_checkpoint_file(path.name)
    below = (entry for entry in path.iterdir() if entry.is_dir())
    return bool((path / MEGATRON_FILE).is_file() or _shards(path)) or any(map(_shards, below))


def is_checkpoint_file(name: str) -> bool:
    """Return whether a file of this name is part of a checkpoint, so that its path may be given."""
    return name in (TRACKER, MEGATRON_FILE) or DEEPSPEED.fullmatch(name) is not None


def _shards(folder: Path) -> list[tuple[str, int, Path]]:
    """Return layout, rank and path of every shard directly in `folder`, in order of rank."""
    found = []
    for entry in folder.iterdir():
        if match := DEEPSPEED.fullmatch(entry.name):
            found.append(("deepspeed", int(match[1]), entry))
        elif (match := MEGATRON.fullmatch(entry.name)) and (entry / MEGATRON_FILE).is_file():
            found.append(("megatron", int(match[1]), entry / MEGATRON_FILE))
    return sorted(found, key=lambda shard: (shard[1], shard[2]))


def _step_directory(folder: Path) -> Path:
    """Return the directory of the training step: the one the tracker names, or the only one."""
    tracker = folder / TRACKER
    if not tracker.is_file():
        steps = sorted(entry for entry in folder.iterdir() if entry.is_dir() and _shards(entry))
        if len(steps) == 1:
            return steps[0]
        if steps:
            names = shortened((step.name for step in steps), ", ")
            raise CheckpointError(
                "{folder} holds several training steps and no {tracker}: give one of {names}",
                folder=folder,
                tracker=TRACKER,
                names=names,
            )
        raise CheckpointError(
            "{folder} holds no checkpoint: expected a converted model or Hugging "
            "Face's GPT-2 (config.json and weights), a SavedModel, or CPM's own "
            "files ({tracker} or {expected_files}), found {listing}",
            folder=folder,
            tracker=TRACKER,
            expected_files=tr(EXPECTED_FILES),
            listing=listing(folder),
        )
    step = read_limited(tracker, MAX_TRACKER).decode("utf-8", "replace").strip()[:40]
    if not re.fullmatch(r"\w+", step):
        raise CheckpointError(
            "{tracker} holds {step!a}; expected a training step, such as 80000",
            tracker=tracker,
            step=step,
        )
    numbered = f"iter_{int(step):07d}" if step.isdecimal() else step
    for name in (step, numbered):
        if (folder / name).is_dir():
            return folder / name
    raise CheckpointError(
        "{tracker} names the step {step!r}, but there is no directory {step} or "
        "{numbered}; found {listing}",
        tracker=tracker,
        step=step,
        numbered=numbered,
        listing=listing(folder),
    )


def listing(folder: Path) -> str:
    """Return the names in a directory, for a message."""
    return shortened(sorted(map(_shown, folder.iterdir())), ", ") or "nothing"


def _shown(entry: Path) -> str:
    name = one_line(entry.name, 60)
    return name if entry.exists() else tr("{name} (a link to a missing file)", name=name)

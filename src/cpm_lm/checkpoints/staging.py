"""A directory, or a file, that appears under its name complete, or not at all.

Knows directories and locks; does not know what is written. The work is done in a hidden directory
beside the target, locked by the process that writes, and renamed at the end. What a killed
process left behind is cleared by the next one that writes the same target.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cpm_lm.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no such locks: two writers to one target are not told apart
    fcntl = None  # type: ignore[assignment]

__all__ = ["staged", "staged_file"]


@contextmanager
def staged(target: Path, *, overwrite: bool, replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a fresh directory; when the block ends without an error it becomes `target`.

    Args:
        target: the directory to make.
        overwrite: whether an existing one may be replaced, which happens at the very end.
        replaceable: says whether an existing directory is of a kind that may be replaced.

    Raises:
        CheckpointError: the target exists, is being written by another process, or the disk is
            full or not writable.
    """
    target = target.resolve()
    if not target.name:
        raise CheckpointError(f"{target} cannot be a store; name a new directory below it")
    _refuse_files_above(target)
    work = target.with_name(f".{target.name}.partial")
    old = target.with_name(f".{target.name}.replaced")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(work, target):
            try:
                if old.exists() and not target.exists():
                    old.rename(target)  # the last writer was killed between its two renames
                _refuse(target, overwrite=overwrite, replaceable=replaceable)
                _clear(work)
                yield work
                _settle(work)
                _refuse(target, overwrite=overwrite, replaceable=replaceable)
                _swap(work, target, old)
            except BaseException:  # also Ctrl-C
                shutil.rmtree(work, ignore_errors=True)
                raise
    except OSError as error:
        raise CheckpointError(
            f"{target} could not be written: {error}; nothing was left there"
        ) from error


@contextmanager
def staged_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a path to write a file to; when the block ends without an error it becomes `target`.

    Raises:
        CheckpointError: the target exists, is a directory, is being written by another process,
            or the disk is full or not writable.
    """
    target = target.resolve()
    if not target.name:
        raise CheckpointError(f"{target} is a directory; name a new file below it")
    _refuse_files_above(target)
    work = target.with_name(f".{target.name}.partial")

    def refuse() -> None:
        if target.is_dir() or (target.exists() and not overwrite):
            hint = "" if target.is_dir() else ", or overwrite it (--overwrite)"
            raise CheckpointError(f"{target} exists already; choose another name{hint}")

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(work, target):
            try:
                refuse()
                _clear(work)
                yield work / target.name
                _settle(work)
                refuse()
                (work / target.name).replace(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            f"{target} could not be written: {error}; nothing was left there"
        ) from error


@contextmanager
def _locked(work: Path, target: Path) -> Iterator[None]:
    """Hold the work directory's lock; it ends with the process, however that ends."""
    work.mkdir(exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not work.exists() or not os.path.samestat(os.fstat(handle), work.stat()):
            raise BlockingIOError  # its owner finished between our two calls
    except BlockingIOError:
        os.close(handle)
        raise CheckpointError(
            f"another process is writing {target}; wait for it, or choose another name"
        ) from None
    except OSError:
        pass  # a network file system without locks
    try:
        yield
    finally:
        os.close(handle)


def _refuse(target: Path, *, overwrite: bool, replaceable: Callable[[Path], bool]) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise CheckpointError(
            f"{target} exists already; choose another name, or overwrite it (--overwrite)"
        )
    if not target.is_dir() or not replaceable(target):
        raise CheckpointError(f"{target} exists and is not a store; it will not be overwritten")


def _refuse_files_above(target: Path) -> None:
    for above in target.parents:
        if above.exists() and not above.is_dir():
            raise CheckpointError(f"{above} is a file, so that nothing can be written below it")


def _clear(work: Path) -> None:
    for entry in work.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _settle(work: Path) -> None:
    """Wait until the files are on the disk, so that the new name never outlives their content."""
    for entry in work.rglob("*"):
        if entry.is_file():
            with entry.open("rb+") as file:
                os.fsync(file.fileno())


def _swap(work: Path, target: Path, old: Path) -> None:
    replacing = target.exists() and any(target.iterdir())
    if old.exists():
        shutil.rmtree(old)
    if replacing:
        target.rename(old)
    try:
        work.rename(target)
    except OSError:
        if replacing:
            with suppress(OSError):
                old.rename(target)
        raise
    if replacing:
        with suppress(OSError):  # what may not be written to cannot be emptied either
            old.chmod(0o700)
        shutil.rmtree(old, ignore_errors=True)

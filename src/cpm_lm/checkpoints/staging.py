"""Write a directory or a file atomically: write to a temporary directory and rename it on success.

Knows directories and locks; does not know what is written. The temporary directory is hidden and
beside the target, so that the rename stays on one file system. The writing process locks it. The
next writer of the same target deletes what a killed process left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr

try:
    import fcntl
except ImportError:  # Windows has no fcntl: concurrent writers of one target are not detected
    fcntl = None  # type: ignore[assignment]

__all__ = ["staged", "staged_file"]


@contextmanager
def staged(target: Path, *, overwrite: bool, replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """Yield an empty directory; rename it to `target` when the block ends without an error.

    Args:
        target: the directory to create.
        overwrite: whether an existing target may be replaced; this happens last.
        replaceable: returns whether an existing directory may be replaced.

    Raises:
        CheckpointError: the target exists, is being written by another process, or the disk is
            full or not writable.
    """
    target = target.resolve()
    if not target.name:
        raise CheckpointError(
            "{target} cannot be a store; give a new directory below it", target=target
        )
    _check_parents(target)
    work = target.with_name(f".{target.name}.partial")
    backup = target.with_name(f".{target.name}.replaced")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(work, target):
            try:
                if backup.exists() and not target.exists():
                    backup.rename(target)  # the last writer was killed between its two renames
                _check_target(target, overwrite=overwrite, replaceable=replaceable)
                _delete_content(work)
                yield work
                _fsync_files(work)
                _check_target(target, overwrite=overwrite, replaceable=replaceable)
                _replace_target(work, target, backup)
            except BaseException:  # also Ctrl-C
                shutil.rmtree(work, ignore_errors=True)
                raise
    except OSError as error:
        raise CheckpointError(
            "{target} could not be written: {error}; nothing was left there",
            target=target,
            error=error,
        ) from error


@contextmanager
def staged_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a path for a file; rename it to `target` when the block ends without an error.

    Raises:
        CheckpointError: the target exists, is a directory, is being written by another process,
            or the disk is full or not writable.
    """
    target = target.resolve()
    if not target.name:
        raise CheckpointError("{target} is a directory; give a new file below it", target=target)
    _check_parents(target)
    work = target.with_name(f".{target.name}.partial")

    def check_target() -> None:
        if target.is_dir() or (target.exists() and not overwrite):
            hint = "" if target.is_dir() else tr(", or overwrite it (--overwrite)")
            raise CheckpointError(
                "{target} exists already; choose another name{hint}", target=target, hint=hint
            )

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(work, target):
            try:
                check_target()
                _delete_content(work)
                yield work / target.name
                _fsync_files(work)
                check_target()
                (work / target.name).replace(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise CheckpointError(
            "{target} could not be written: {error}; nothing was left there",
            target=target,
            error=error,
        ) from error


@contextmanager
def _locked(work: Path, target: Path) -> Iterator[None]:
    """Hold the lock of the temporary directory; the system releases it if the process is killed."""
    work.mkdir(exist_ok=True)
    if fcntl is None:
        yield
        return
    handle = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not work.exists() or not os.path.samestat(os.fstat(handle), work.stat()):
            raise BlockingIOError  # the owner renamed or deleted it before we had the lock
    except BlockingIOError:
        os.close(handle)
        raise CheckpointError(
            "another process is writing {target}; wait for it, or choose another name",
            target=target,
        ) from None
    except OSError:
        pass  # a network file system without lock support
    try:
        yield
    finally:
        os.close(handle)


def _check_target(target: Path, *, overwrite: bool, replaceable: Callable[[Path], bool]) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not overwrite:
        raise CheckpointError(
            "{target} exists already; choose another name, or overwrite it (--overwrite)",
            target=target,
        )
    if not target.is_dir() or not replaceable(target):
        raise CheckpointError(
            "{target} exists and is not a converted model; it will not be overwritten",
            target=target,
        )


def _check_parents(target: Path) -> None:
    for parent in target.parents:
        if parent.exists() and not parent.is_dir():
            raise CheckpointError(
                "{parent} is a file; nothing can be written below it", parent=parent
            )


def _delete_content(work: Path) -> None:
    for entry in work.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _fsync_files(work: Path) -> None:
    """Flush the files to disk, so that after a crash the new name has complete content."""
    for entry in work.rglob("*"):
        if entry.is_file():
            with entry.open("rb+") as file:
                os.fsync(file.fileno())


def _replace_target(work: Path, target: Path, backup: Path) -> None:
    """Rename `work` to `target`; keep an existing target as `backup` until then."""
    replacing = target.exists() and any(target.iterdir())
    if backup.exists():
        shutil.rmtree(backup)
    if replacing:
        target.rename(backup)
    try:
        work.rename(target)
    except OSError:
        if replacing:
            with suppress(OSError):
                backup.rename(target)
        raise
    if replacing:
        with suppress(OSError):  # a directory without write permission cannot be emptied
            backup.chmod(0o700)
        shutil.rmtree(backup, ignore_errors=True)

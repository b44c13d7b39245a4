"""Write a directory or a file atomically: write to a hidden directory and rename it on success.

Knows targets and when one may be replaced; `storage` knows locks and names. The hidden directory is
beside the target, so that the rename stays on one file system, and is held by one process. The next
writer of the same target removes what a killed process left there. While an old directory is
replaced, it is exchanged with the new one in one step, or, where the system cannot do that, moved
into the hidden directory: `put_back` returns it if the process was killed then.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cpm_lm.errors import CheckpointError
from cpm_lm.languages import tr
from cpm_lm.storage.directory import Directory, is_ours
from cpm_lm.storage.exchange import exchange
from cpm_lm.storage.owned import BusyError, NotOursError, Owned, owned
from cpm_lm.storage.replacing import OLD, hidden_name, return_old
from cpm_lm.storage.signals import cleaning_on_signals

__all__ = ["staged", "staged_file"]

NEW, REPLACED = "new", "replaced"
"""The names in the hidden directory of what is being written, and of what is no longer needed."""


@contextmanager
def staged(
    target: Path,
    *,
    overwrite: bool,
    replaceable: Callable[[Path], bool],
    source: Path | None = None,
) -> Iterator[Path]:
    """Yield an empty directory; rename it to `target` when the block ends without an error.

    Args:
        target: the directory to create. A link that this user made is followed.
        overwrite: whether an existing target may be replaced; this happens last.
        replaceable: returns whether an existing directory may be replaced.
        source: what is read. It may be the target itself, but not a part of it, which would be
            removed with it.

    Raises:
        CheckpointError: the target exists, contains the source, is being written by another
            process, or the disk is full or not writable.
    """
    target = _resolved(target)
    if not target.name:
        raise CheckpointError(
            "{target} cannot be a store; give a new directory below it", target=target
        )
    if target.is_mount():
        raise CheckpointError(
            "{target} is a mount point; give a new directory below it", target=target
        )
    if source is not None and target in source.resolve().parents:
        raise CheckpointError(
            "{source} lies in {target}, which would replace it; choose another target",
            source=source,
            target=target,
        )

    def check_target() -> None:
        _check_directory(target, overwrite=overwrite, replaceable=replaceable)

    with _holding(target) as (parent, work):
        check_target()
        work.mkdir(NEW, 0o777)
        yield work.path / NEW
        with work.child(NEW) as new:
            new.sync_all()
        check_target()
        _publish(work, parent, target)


@contextmanager
def staged_file(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a path for a file; rename it to `target` when the block ends without an error.

    Raises:
        CheckpointError: the target exists, is a directory, is being written by another process,
            or the disk is full or not writable.
    """
    target = _resolved(target)
    if not target.name:
        raise CheckpointError("{target} is a directory; give a new file below it", target=target)

    def check_target() -> None:
        special = target.exists() and not target.is_file()
        if special or (target.exists() and not overwrite):
            hint = "" if special else tr(", or overwrite it (--overwrite)")
            raise CheckpointError(
                "{target} exists already; choose another name{hint}", target=target, hint=hint
            )

    with _holding(target) as (parent, work):
        check_target()
        work.mkdir(NEW, 0o777)
        with work.child(NEW) as new:
            yield new.path / target.name
            new.sync_all()
            check_target()
            if overwrite:
                new.rename(target.name, parent, target.name)
            else:
                new.rename_new(target.name, parent, target.name)
        _sync_names(parent)


def _resolved(target: Path) -> Path:
    """Return the target without links; each link must be this user's, root's or the directory's.

    This is the rule that Linux has for directories that all can write (protected_symlinks).
    """
    try:
        for path in (*reversed(target.absolute().parents), target.absolute()):
            if path.is_symlink() and os.name != "nt":
                status, around = path.lstat(), path.parent.stat()
                if not is_ours(status) and status.st_uid not in (0, around.st_uid):
                    raise CheckpointError(
                        "{path} is a link that another user made; it is not followed", path=path
                    )
        found = target.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links, a name that is too long
        raise CheckpointError(
            "{target} could not be written: {error}", target=target, error=error
        ) from None
    if target.is_symlink() and not found.exists():
        raise CheckpointError(
            "{target} is a link to {found}, which does not exist; remove it",
            target=target,
            found=found,
        )
    for parent in found.parents:
        if parent.exists() and not parent.is_dir():
            raise CheckpointError(
                "{parent} is a file; nothing can be written below it", parent=parent
            )
    return found


@contextmanager
def _holding(target: Path) -> Iterator[tuple[Directory, Owned]]:
    """Yield the target's parent, made if there is none, and the empty hidden directory, locked."""
    hidden = target.with_name(hidden_name(target.name))
    missing = [path for path in target.parents if not path.exists()]
    try:
        with cleaning_on_signals(), _removing_on_error(missing):
            target.parent.mkdir(parents=True, exist_ok=True)
            with (
                Directory.open(target.parent) as parent,
                owned(parent, hidden.name) as work,
            ):
                assert work is not None
                return_old(work, parent, target.name)
                work.empty()
                yield parent, work
    except BusyError:
        raise CheckpointError(
            "another process is writing {target}; wait for it, or choose another name",
            target=target,
        ) from None
    except NotOursError as error:
        raise CheckpointError(
            "{target} could not be written: {error}; remove {hidden}, or choose another name",
            target=target,
            error=error,
            hidden=hidden,
        ) from None
    except OSError as error:
        left = (
            tr("; {hidden} is left, the next call removes it", hidden=hidden)
            if os.path.lexists(hidden)
            else ""
        )
        raise CheckpointError(
            "{target} could not be written: {error}{left}",
            target=target,
            error=error,
            left=left or tr("; nothing was left there"),
        ) from error


@contextmanager
def _removing_on_error(directories: list[Path]) -> Iterator[None]:
    """Remove these directories, the deepest first, if the block fails and they are empty."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for directory in directories:
                directory.rmdir()
        raise


def _check_directory(target: Path, *, overwrite: bool, replaceable: Callable[[Path], bool]) -> None:
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


def _publish(work: Directory, parent: Directory, target: Path) -> None:
    """Give the new directory its name; an existing one, checked before, moves to `work`."""
    before = parent.status(target.name)
    if before is None or not any(target.iterdir()):
        if before is not None and os.name == "nt":
            parent.rmdir(target.name)
        work.rename(NEW, parent, target.name)  # fails if it is no longer empty
    elif exchange(work, NEW, parent, target.name):
        if not _is_same(work.status(NEW), before):
            exchange(work, NEW, parent, target.name)
            raise BusyError
    else:
        parent.rename(target.name, work, OLD)
        try:
            if not _is_same(work.status(OLD), before):
                raise BusyError
            work.rename(NEW, parent, target.name)
        except BaseException:
            with contextlib.suppress(OSError):
                work.rename(OLD, parent, target.name)
            raise
        with contextlib.suppress(OSError):  # else `put_back` could return it later
            work.rename(OLD, work, REPLACED)
    _sync_names(parent)


def _is_same(found: os.stat_result | None, expected: os.stat_result) -> bool:
    return found is not None and os.path.samestat(found, expected)


def _sync_names(parent: Directory) -> None:
    """Flush the new name; an error does not undo it, and either name has complete content."""
    with contextlib.suppress(OSError):
        parent.sync()

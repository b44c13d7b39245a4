"""Names beside a target that others could have made, and targets that are hard to write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cpm_lm.checkpoints.staging import staged, staged_file
from cpm_lm.errors import CheckpointError
from cpm_lm.storage.replacing import hidden_name, put_back
from cpm_lm.storage.temporary import temporary_directory

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, users and descriptors")

WAITING = """
import sys, time
from pathlib import Path
from cpm_lm.checkpoints.staging import staged
with staged(Path(sys.argv[1]), overwrite=True, replaceable=lambda _: True) as work:
    (work / "half").write_text("half")
    print("halfway", flush=True)
    time.sleep(600)
"""


def write(target: Path, text: str = "new", *, overwrite: bool = True) -> None:
    with staged(target, overwrite=overwrite, replaceable=lambda _: True) as work:
        (work / "model").write_text(text)


def names(directory: Path) -> set[str]:
    return {entry.name for entry in directory.iterdir()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with a letter, which nothing may touch."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    return tmp_path / "home"


def waiting(target: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WAITING, str(target)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "halfway\n"
    return process


@pytest.mark.parametrize("old", [".store.partial", ".store.replaced"])
def test_the_names_of_earlier_versions_are_not_touched(
    tmp_path: Path, home: Path, old: str
) -> None:
    """`.NAME.partial` was followed and emptied, whoever had made it, as out of an archive."""
    (tmp_path / old).symlink_to(home)
    write(tmp_path / "store")
    assert (home / "letter").read_text() == "dear"
    assert (tmp_path / old).is_symlink()


@pytest.mark.parametrize(
    "kind", ["link", "dangling", "file", "fifo", "full", "copy", "other's", "empty other's"]
)
def test_what_is_at_the_hidden_name_and_not_ours_is_not_touched(
    tmp_path: Path, home: Path, kind: str
) -> None:
    hidden = tmp_path / hidden_name("store")
    if kind == "link":
        hidden.symlink_to(home)
    elif kind == "dangling":
        hidden.symlink_to(tmp_path / "nothing")
    elif kind == "file":
        hidden.write_text("dear")
    elif kind == "fifo":
        os.mkfifo(hidden)
    elif kind in ("full", "other's"):
        home.rename(hidden)
    elif kind == "copy":  # of a directory that a killed process left, as out of an archive
        (home / f"owner-{home.stat().st_ino:x}").write_text("")
        subprocess.run(["cp", "-a", home, hidden], check=True)
    else:
        hidden.mkdir()
    if kind.endswith("other's"):
        if os.geteuid() != 0:
            pytest.skip("only root can make another user's directory")
        os.chown(hidden, 12345, 12345)
    for put in (write, lambda target: put_file(target)):
        with pytest.raises(CheckpointError, match=r"in the way.*remove .*cpm-partial"):
            put(tmp_path / "store")
    put_back(tmp_path / "store")
    letter = next((p for p in (home / "letter", hidden / "letter") if p.exists()), None)
    assert letter is None or letter.read_text() == "dear"
    assert letter is not None or kind in ("empty other's",) or hidden.exists()
    assert os.path.lexists(hidden)
    assert not (tmp_path / "store").exists()


def put_file(target: Path) -> None:
    with staged_file(target, overwrite=True) as work:
        work.write_text("new")


def test_an_empty_directory_of_ours_is_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / hidden_name("store")).mkdir()
    write(tmp_path / "store")
    assert names(tmp_path) == {"store"}


def test_links_in_what_is_replaced_are_not_followed(tmp_path: Path, home: Path) -> None:
    write(tmp_path / "store", "old")
    (tmp_path / "store" / "link").symlink_to(home)
    (tmp_path / "store" / "hard").hardlink_to(home / "letter")
    (tmp_path / "store" / "deep").mkdir(mode=0o500)
    write(tmp_path / "store")
    assert names(tmp_path / "store") == {"model"}
    assert (home / "letter").read_text() == "dear"
    assert names(tmp_path) == {"store", "home"}


def test_a_hard_linked_file_is_replaced_and_not_written_into(tmp_path: Path, home: Path) -> None:
    (tmp_path / "plot.svg").hardlink_to(home / "letter")
    put_file(tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text() == "new"
    assert (home / "letter").read_text() == "dear"


def test_a_link_to_a_missing_target_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").symlink_to(tmp_path / "nothing")
    for put in (write, put_file):
        with pytest.raises(CheckpointError, match=r"is a link to .*nothing, which does not exist"):
            put(tmp_path / "store")
    assert names(tmp_path) == {"store"}
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(CheckpointError, match="loop"):
        write(tmp_path / "loop")


def test_a_parent_that_is_our_own_link_is_followed(tmp_path: Path, home: Path) -> None:
    (tmp_path / "link").symlink_to(home)
    write(tmp_path / "link" / "store")
    assert names(home) == {"letter", "store"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs two users")
@pytest.mark.parametrize("below", ["store", "link/store"])
def test_a_link_that_another_user_made_is_not_followed(
    tmp_path: Path, home: Path, below: str
) -> None:
    target = tmp_path / below
    link = target if below == "store" else target.parent
    link.symlink_to(home)
    os.chown(link, 12345, 12345, follow_symlinks=False)
    with pytest.raises(CheckpointError, match="a link that another user made"):
        write(target)
    assert names(home) == {"letter"}


@pytest.mark.parametrize("name", ["x" * 255, "模" * 85, "x" * 100, "x" * 101])
def test_long_names(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, "old")
    write(tmp_path / name)
    put_file(tmp_path / "sub" / name)
    assert names(tmp_path) == {name, "sub"}
    assert names(tmp_path / "sub") == {name}
    with pytest.raises(CheckpointError, match="could not be written"):
        write(tmp_path / ("x" * 256))
    assert names(tmp_path) == {name, "sub"}


def test_a_directory_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """As another user, because root may write everywhere; new parents are removed again."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file; nothing can be written below it"):
        write(tmp_path / "file" / "a" / "store")
    with pytest.raises(CheckpointError, match="could not be written"):
        write(Path("/proc/cpm/a/store"))

    class StopError(Exception):
        pass

    with (
        pytest.raises(StopError),
        staged(tmp_path / "a/b/store", overwrite=False, replaceable=lambda _: True),
    ):
        raise StopError
    assert names(tmp_path) == {"file"}


def test_a_mount_point_is_refused_at_the_start() -> None:
    """Nothing can be renamed to it, which would show only after hours of writing."""
    with pytest.raises(CheckpointError, match="is a mount point; give a new directory below"):
        write(Path("/dev"))


def test_without_descriptors_of_directories_the_same_holds(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: whole paths, and two renames instead of an exchange."""
    monkeypatch.setattr("cpm_lm.storage.directory.BY_DESCRIPTOR", False)
    hidden = tmp_path / hidden_name("store")
    hidden.symlink_to(home)
    with pytest.raises(CheckpointError, match="in the way"):
        write(tmp_path / "store")
    hidden.unlink()
    write(tmp_path / "store", "old")
    (tmp_path / "store" / "link").symlink_to(home)
    write(tmp_path / "store")
    put_file(tmp_path / "plot.svg")
    put_file(tmp_path / "plot.svg")
    with temporary_directory("cpm-test-") as work:
        (work / "file").write_text("")
    assert not work.exists()
    assert names(tmp_path / "store") == {"model"}
    assert names(tmp_path) == {"store", "plot.svg", "home"}
    assert (home / "letter").read_text() == "dear"


def test_a_second_process_is_refused_at_once(tmp_path: Path) -> None:
    process = waiting(tmp_path / "store")
    try:
        for put in (write, put_file):
            with pytest.raises(CheckpointError, match="another process is writing") as caught:
                put(tmp_path / "store")
            assert "\n" not in str(caught.value)
        write(tmp_path / "other")  # beside it
    finally:
        process.kill()
        process.communicate()
    write(tmp_path / "store")
    assert names(tmp_path) == {"store", "other"}


def test_of_many_processes_at_once_one_writes_and_the_others_are_refused(tmp_path: Path) -> None:
    """A lock that is taken on a directory that its owner removes at that moment is none."""
    results: list[str] = []

    def race(number: int) -> None:
        for _ in range(60):
            try:
                write(tmp_path / "store", str(number))
                results.append("written")
            except CheckpointError as error:
                results.append("refused" if "another process" in str(error) else str(error))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert set(results) <= {"written", "refused"}
    assert "written" in results
    assert names(tmp_path) == {"store"}
    assert names(tmp_path / "store") == {"model"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_no_files_and_ends_the_process_as_it_would(
    tmp_path: Path, how: signal.Signals
) -> None:
    write(tmp_path / "store", "old")
    process = waiting(tmp_path / "store")
    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode == -how
    assert names(tmp_path) == {"store"}
    assert (tmp_path / "store" / "model").read_text() == "old"


def test_a_programs_own_handler_is_left_to_it(tmp_path: Path) -> None:
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    try:
        with staged(tmp_path / "store", overwrite=False, replaceable=lambda _: True):
            os.kill(os.getpid(), signal.SIGTERM)
        assert got == [signal.SIGTERM]
        assert names(tmp_path) == {"store"}
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_target_that_appears_while_the_new_one_is_written_is_kept(tmp_path: Path) -> None:
    def slowly(target: Path) -> None:
        with staged(target, overwrite=False, replaceable=lambda _: True) as work:
            (work / "model").write_text("new")
            target.mkdir()
            (target / "letter").write_text("dear")

    def file_slowly(target: Path) -> None:
        with staged_file(target, overwrite=False) as work:
            work.write_text("new")
            target.write_text("dear")

    with pytest.raises(CheckpointError, match="exists already"):
        slowly(tmp_path / "store")
    assert names(tmp_path / "store") == {"letter"}
    with pytest.raises(CheckpointError, match="exists already"):
        file_slowly(tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text() == "dear"


def test_a_directory_is_not_replaced_by_a_file(tmp_path: Path, home: Path) -> None:
    with pytest.raises(CheckpointError, match=r"exists already; choose another name$"):
        put_file(home)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"exists already; choose another name$"):
        put_file(tmp_path / "pipe")

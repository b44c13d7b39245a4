"""The table of words is private, silent and whole; without a safe directory it is in memory."""

from __future__ import annotations

import mmap
import os
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.errors import TokenizerError
from cpm_lm.storage.directory import Directory
from cpm_lm.tokenizer import words_cache, words_source
from cpm_lm.tokenizer.words import words
from cpm_lm.tokenizer.words_source import WordSource
from cpm_lm.tokenizer.words_table import BEGINNING, WordData, WordTable, pack
from tests.support.tiny_vocabulary import train

WORDS = {"今": BEGINNING, "今天": -0.5, "天": BEGINNING, "天气": -1.5}
WRONG = {"今": -0.25, "天": -0.25, "毒": -0.25}
KEY = b"k" * 32

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has access lists instead of modes")


def data(found: dict[str, float]) -> WordData:
    return WordData(found, -9.0, [-1.0] * 4, [-2.0] * 8, {"今": [-3.0, -4.0, -5.0, -6.0]})


class FakeSource:
    """A jieba with a dictionary of two words."""

    key = KEY

    def read(self) -> WordData:
        return data(WORDS)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a new cache directory, which does not exist yet."""
    monkeypatch.setattr(words_cache, "WordSource", FakeSource)
    monkeypatch.setattr(words_cache, "_user_cache", lambda: tmp_path)
    return tmp_path / "cpm-lm" / "jieba"


def known(table: WordTable | None = None) -> dict[str, float]:
    """All words that begin like those of WORDS and WRONG, in a newly opened table."""
    return (table or words_cache._open()).log_probabilities("今天毒")


def plant(cache: Path) -> Path:
    """Write a valid file with wrong words; return its path."""
    known()
    path = cache / words_cache.CACHE_FILE
    path.write_bytes(pack(data(WRONG), KEY))
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_cache_is_used(cache: Path) -> None:
    """A planted file is read if it is trusted, so the other tests can fail."""
    assert known() == WORDS
    plant(cache)
    assert known() == WRONG


@posix
def test_the_cache_is_private(cache: Path) -> None:
    old = os.umask(0)
    try:
        known()
    finally:
        os.umask(old)
    assert mode(cache) == 0o700
    assert mode(cache / words_cache.CACHE_FILE) == 0o600
    assert [path.name for path in cache.iterdir()] == [words_cache.CACHE_FILE]


@posix
@pytest.mark.parametrize("bits", [0o777, 0o770, 0o755, 0o701])
def test_a_directory_that_others_can_write_is_not_trusted(cache: Path, bits: int) -> None:
    path = plant(cache)
    planted = path.read_bytes()
    cache.chmod(bits)
    assert known() == WORDS
    assert path.read_bytes() == planted


@posix
def test_a_directory_of_another_user_is_not_trusted(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(cache)
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    assert known() == WORDS


@posix
def test_a_symlink_to_a_directory_is_not_trusted(cache: Path, tmp_path: Path) -> None:
    plant(cache)
    cache.rename(tmp_path / "elsewhere")
    cache.symlink_to(tmp_path / "elsewhere")
    assert known() == WORDS


@posix
def test_a_file_that_others_can_write_is_replaced(cache: Path) -> None:
    path = plant(cache)
    path.chmod(0o622)
    assert known() == WORDS
    assert mode(path) == 0o600


@posix
def test_a_symlink_to_a_file_is_replaced(cache: Path, tmp_path: Path) -> None:
    path = plant(cache)
    planted = path.rename(tmp_path / "planted")
    content = planted.read_bytes()
    path.symlink_to(planted)
    assert known() == WORDS
    assert not path.is_symlink()
    assert planted.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"cpmwords",
        b"cpmwords" + b"\xff" * 64,
        pack(data(WRONG), b"x" * 32),  # made from another dictionary
        pack(data(WRONG), KEY) + b"more",
    ],
)
def test_a_damaged_or_older_file_is_replaced(cache: Path, content: bytes) -> None:
    path = plant(cache)
    path.write_bytes(content)
    assert known() == WORDS
    assert path.read_bytes() == pack(data(WORDS), KEY)


def test_a_truncated_file_is_replaced(cache: Path) -> None:
    path = plant(cache)
    whole = path.read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(whole), 99991), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert known() == WORDS


def test_a_flipped_bit_is_found_wherever_it_is(cache: Path) -> None:
    """Each part has a checksum, that of a group of words being looked at when the group is read."""
    path = plant(cache)
    whole = pack(data(WORDS), KEY)
    near_ends = [*range(0, 150, 5), *range(len(whole) - 40, len(whole), 3)]
    for at in [*near_ends, *range(150, len(whole) - 40, 150001)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1
        path.unlink()  # a file is never written in place: the last one is still mapped
        path.write_bytes(damaged)
        assert known() == WORDS, at
        assert path.read_bytes() == pack(data(WORDS), KEY), at


def test_a_table_with_two_writers_is_whole(cache: Path) -> None:
    """Each writes a file of its own and renames it."""
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: known(), range(40))) == [WORDS] * 40
    assert [path.name for path in cache.iterdir()] == [words_cache.CACHE_FILE]


def test_a_replaced_file_does_not_change_an_open_table(cache: Path) -> None:
    known()
    table = words_cache._open()
    (cache / words_cache.CACHE_FILE).unlink()
    plant(cache)
    assert known(table) == WORDS
    assert known() == WRONG


def test_the_file_of_an_older_release_is_removed(cache: Path) -> None:
    cache.mkdir(mode=0o700, parents=True)
    (cache / "dictionary.marshal").write_bytes(b"20 MB")
    known()
    assert [path.name for path in cache.iterdir()] == [words_cache.CACHE_FILE]


def test_without_a_writable_directory_there_is_no_cache(cache: Path) -> None:
    cache.parent.write_text("a file in the way")
    assert known() == WORDS


def test_without_a_home_there_is_no_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(words_cache, "_user_cache", no_home)
    assert known() == WORDS


def test_a_full_disk_leaves_no_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Directory, "rename", full)
    assert known() == WORDS
    assert list(cache.iterdir()) == []


def test_the_default_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert words_cache._user_cache() == tmp_path / "mine"
    for value in ("", "relative/is/invalid"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert words_cache._user_cache() == tmp_path / ".cache"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert words_cache._user_cache() == tmp_path / "Library" / "Caches"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert words_cache._user_cache() == tmp_path / "local"


def test_a_file_system_that_maps_nothing_is_no_obstacle(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: Any, **__: Any) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(mmap, "mmap", unsupported)
    assert known() == WORDS


def test_threads_open_the_table_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = WordTable(memoryview(pack(data(WORDS), KEY)), KEY, bytes)
    opened = []

    def slow() -> WordTable:
        opened.append(threading.get_ident())
        time.sleep(0.05)
        return table

    monkeypatch.setattr(words_cache, "_table", None)
    monkeypatch.setattr(words_cache, "_open", slow)
    with ThreadPoolExecutor(8) as pool:
        cuts = list(pool.map(lambda _: list(words("今天天气不错")), range(8)))
    assert len(opened) == 1
    assert cuts == [["今天", "天气", "不", "错"]] * 8


def test_without_jieba_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(TokenizerError, match=r"pip install --force-reinstall jieba==0\.42\.1"):
        WordSource()
    (tmp_path / "jieba").mkdir()  # without its files
    (tmp_path / "jieba" / "__init__.py").touch()
    sys.path_importer_cache.pop(str(tmp_path), None)
    with pytest.raises(TokenizerError, match="not installed completely"):
        WordSource()


def test_a_damaged_dictionary_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_source, "DICTIONARY", "__init__.py")
    with pytest.raises(TokenizerError, match="not installed completely"):
        WordSource().read()


def test_another_dictionary_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    key = WordSource().key
    assert WordSource().key == key
    monkeypatch.setattr(words_source, "DICTIONARY", "__init__.py")
    assert WordSource().key != key


def test_a_run_prints_nothing_and_leaves_no_file_in_the_temporary_directory(tmp_path: Path) -> None:
    """jieba itself logs four lines and writes a jieba.cache that any user can replace."""
    shared, cache = tmp_path / "shared", tmp_path / "cache"
    shared.mkdir()
    code = "import sys; from cpm_lm.tokenizer import Tokenizer as T; "
    code += "print(T.load(sys.argv[1]).normalize('今天，天气'))"
    variables = {"TMPDIR": shared, "TEMP": shared, "TMP": shared, "XDG_CACHE_HOME": cache}
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-W", "error", "-c", code, str(train(tmp_path / "v"))],
        env=os.environ | {name: str(path) for name, path in variables.items()},
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert (done.stdout.decode().strip(), done.stderr) == ("今天,天气", b"")
    assert list(shared.iterdir()) == []
    assert [path.name for path in (cache / "cpm-lm" / "jieba").iterdir()] == [
        words_cache.CACHE_FILE
    ]

"""The cache of jieba's dictionary is private and silent; without a safe directory there is none."""

from __future__ import annotations

import io
import marshal
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

from cpm_lm.tokenizer import words as segmentation
from tests.support.tiny_vocabulary import train

DICTIONARY = "今天 100 n\n天气 50 n\n"
WORDS = {"今": 0, "今天": 100, "天": 0, "天气": 50}
WRONG = {"毒": 0, "毒药": 99}

posix = pytest.mark.skipif(os.name != "posix", reason="Windows has access lists instead of modes")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a new cache directory, which does not exist yet; a dictionary of two words."""
    list(segmentation.words("今"))  # imports jieba
    tokenizer = sys.modules["jieba"].Tokenizer
    monkeypatch.setattr(tokenizer, "get_dict_file", lambda _: io.BytesIO(DICTIONARY.encode()))
    monkeypatch.setattr(segmentation, "_user_cache", lambda: tmp_path)
    return tmp_path / "cpm-lm" / "jieba"


def plant(cache: Path) -> Path:
    """Write a valid cache file with wrong words; return its path."""
    segmentation._load()
    path = cache / segmentation.CACHE_FILE
    key, _, total = marshal.loads(path.read_bytes())
    path.write_bytes(marshal.dumps((key, WRONG, total)))
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_cache_is_used(cache: Path) -> None:
    """A planted file is read if it is trusted, so the other tests can fail."""
    assert segmentation._load().FREQ == WORDS
    plant(cache)
    assert segmentation._load().FREQ == WRONG


@posix
def test_the_cache_is_private(cache: Path) -> None:
    old = os.umask(0)
    try:
        segmentation._load()
    finally:
        os.umask(old)
    assert mode(cache) == 0o700
    assert mode(cache / segmentation.CACHE_FILE) == 0o600
    assert [path.name for path in cache.iterdir()] == [segmentation.CACHE_FILE]


@posix
@pytest.mark.parametrize("bits", [0o777, 0o770, 0o755, 0o701])
def test_a_directory_that_others_can_write_is_not_trusted(cache: Path, bits: int) -> None:
    path = plant(cache)
    planted = path.read_bytes()
    cache.chmod(bits)
    assert segmentation._load().FREQ == WORDS
    assert path.read_bytes() == planted


@posix
def test_a_directory_of_another_user_is_not_trusted(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(cache)
    monkeypatch.setattr(os, "geteuid", lambda: cache.stat().st_uid + 1)
    assert segmentation._load().FREQ == WORDS


@posix
def test_a_symlink_to_a_directory_is_not_trusted(cache: Path, tmp_path: Path) -> None:
    plant(cache)
    cache.rename(tmp_path / "elsewhere")
    cache.symlink_to(tmp_path / "elsewhere")
    assert segmentation._load().FREQ == WORDS


@posix
def test_a_file_that_others_can_write_is_replaced(cache: Path) -> None:
    path = plant(cache)
    path.chmod(0o622)
    assert segmentation._load().FREQ == WORDS
    assert mode(path) == 0o600


@posix
def test_a_symlink_to_a_file_is_replaced(cache: Path, tmp_path: Path) -> None:
    path = plant(cache)
    planted = path.rename(tmp_path / "planted")
    content = planted.read_bytes()
    path.symlink_to(planted)
    assert segmentation._load().FREQ == WORDS
    assert not path.is_symlink()
    assert planted.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        marshal.dumps(("another dictionary", WRONG, 99)),
        marshal.dumps((1, 2)),
        marshal.dumps(None),
    ],
)
def test_a_damaged_or_older_file_is_replaced(cache: Path, content: bytes) -> None:
    path = plant(cache)
    path.write_bytes(content)
    assert segmentation._load().FREQ == WORDS
    assert path.read_bytes() != content


def test_a_truncated_file_is_replaced(cache: Path) -> None:
    path = plant(cache)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert segmentation._load().FREQ == WORDS


def test_another_dictionary_is_not_read_from_the_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(cache)
    other = io.BytesIO(b"word 5 n\n")
    monkeypatch.setattr(sys.modules["jieba"].Tokenizer, "get_dict_file", lambda _: other)
    assert "word" in segmentation._load().FREQ


def test_without_a_writable_directory_there_is_no_cache(cache: Path) -> None:
    cache.parent.write_text("a file in the way")
    assert segmentation._load().FREQ == WORDS


def test_without_a_home_there_is_no_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError

    monkeypatch.setattr(segmentation, "_user_cache", no_home)
    assert segmentation._load().FREQ == WORDS


def test_a_full_disk_leaves_no_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(marshal, "dump", full)
    assert segmentation._load().FREQ == WORDS
    assert list(cache.iterdir()) == []


def test_the_default_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "mine"))
    assert segmentation._user_cache() == tmp_path / "mine"
    for value in ("", "relative/is/invalid"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert segmentation._user_cache() == tmp_path / ".cache"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert segmentation._user_cache() == tmp_path / "Library" / "Caches"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert segmentation._user_cache() == tmp_path / "local"


def test_threads_load_the_dictionary_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = segmentation._jieba()
    loads = []

    def slow() -> Any:
        loads.append(threading.get_ident())
        time.sleep(0.05)
        return loaded

    monkeypatch.setattr(segmentation, "_cutter", None)
    monkeypatch.setattr(segmentation, "_load", slow)
    with ThreadPoolExecutor(8) as pool:
        cuts = list(pool.map(lambda _: list(segmentation.words("今天天气不错")), range(8)))
    assert len(loads) == 1
    assert cuts == [["今天天气", "不错"]] * 8


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
    assert [path.name for path in (cache / "cpm-lm" / "jieba").iterdir()] == ["dictionary.marshal"]

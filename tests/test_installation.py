"""Installing: from a clone, an address or an index; and where the kernels cannot be built."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cpm_lm import installation
from cpm_lm.installation import pip_install

ROOT = Path(__file__).parent.parent

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
posix = pytest.mark.skipif(os.name != "posix", reason="the compilers here are shell scripts")


@pytest.mark.parametrize(
    ("direct_url", "expected"),
    [
        ({"url": "file:///home/li/cpm-lm", "dir_info": {}}, "pip install '/home/li/cpm-lm[jax]'"),
        (
            {"url": "file:///home/li/my%20models", "dir_info": {"editable": True}},
            "pip install --editable '/home/li/my models[jax]'",
        ),
        ({"url": "file:///w/cpm_lm-0.2-py3-none-any.whl"}, None),
        (
            {"url": "https://h.example/c.git", "vcs_info": {"vcs": "git", "commit_id": "ab12"}},
            "pip install 'cpm-lm[jax] @ git+https://h.example/c.git@ab12'",
        ),
        ({"url": "https://h.example/c.zip"}, "pip install 'cpm-lm[jax] @ https://h.example/c.zip'"),
    ],
)
@posix
def test_an_extra_comes_from_where_the_package_came_from(
    monkeypatch: pytest.MonkeyPatch, direct_url: dict[str, Any], expected: str | None
) -> None:
    """The package may be on no index: `pip install 'cpm-lm[jax]'` finds nothing, or another one."""
    monkeypatch.setattr(installation, "_direct_url", lambda: direct_url)
    expected = expected or "pip install '/w/cpm_lm-0.2-py3-none-any.whl[jax]'"
    assert pip_install("jax") == expected
    words = shlex.split(pip_install())
    assert words[:4] == ["pip", "install", "--force-reinstall", "--no-deps"]
    assert "[" not in words[-1]


def test_an_extra_of_source_files_comes_from_their_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_direct_url", lambda: None)
    assert shlex.split(pip_install("h5"))[-1] == f"{ROOT}[h5]"
    monkeypatch.setattr(installation, "__file__", "/lib/python3.12/site-packages/cpm_lm/x.py")
    assert pip_install("h5") == "pip install 'cpm-lm[h5]'"


@pytest.mark.parametrize("record", [None, "", "{", "[]", '{"url": 3}'])
def test_a_record_that_says_nothing_is_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, record: str | None
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return record

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert pip_install("h5").startswith("pip install ")


def configured(folder: Path, compiler: Path | str, *options: str) -> str:
    """The output of CMake for a compiler; an error of CMake's is an AssertionError."""
    python = f"-DPython_EXECUTABLE={sys.executable}"
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), python, *options]
    found = subprocess.run(
        command,
        env=os.environ | {"CXX": str(compiler)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
    return found.stdout


def targets(folder: Path) -> str:
    command = ["cmake", "--build", str(folder), "--target", "help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


WITHOUT = "cpm-lm: installing without the compiled kernels, because "


@needs_cmake
@posix
def test_without_a_compiler_the_rest_is_installed(tmp_path: Path) -> None:
    """CMake stopped with a page of its own and did not say that the kernels can be left out."""
    said = configured(tmp_path / "build", "/bin/false")
    (line,) = (line for line in said.splitlines() if "cpm-lm" in line)
    assert line.startswith(f"{WITHOUT}no C++ compiler was found that works")
    assert "_native" not in targets(tmp_path / "build")
    subprocess.run(["cmake", "--build", tmp_path / "build"], check=True, stdout=subprocess.DEVNULL)
    with pytest.raises(AssertionError, match="without the compiled kernels"):
        configured(tmp_path / "strict", "/bin/false", "-DCPM_STRICT=ON")


@needs_cmake
@posix
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("lacking", ["convertvector", "rotl"])
def test_with_an_older_compiler_the_rest_is_installed(tmp_path: Path, lacking: str) -> None:
    """A compiler that works, but knows only a part of what the kernels need."""
    compiler = tmp_path / "c++"
    compiler.write_text(
        "#!/bin/sh\nfor file; do case $file in *.cxx) grep -q "
        f'{lacking} $file && exit 1;; esac; done\nexec c++ "$@"\n'
    )
    compiler.chmod(0o755)
    said = configured(tmp_path / "build", compiler)
    (line,) = (line for line in said.splitlines() if "cpm-lm" in line)
    assert line.startswith(WITHOUT)
    assert "lacks C++20 or vector types; GCC 12 or Clang 15" in line


@needs_cmake
@pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")
@pytest.mark.skipif(find_spec("nanobind") is None, reason="nanobind is not installed")
def test_with_a_compiler_the_kernels_are_built(tmp_path: Path) -> None:
    assert WITHOUT not in configured(tmp_path / "build", "c++", "-DCPM_STRICT=ON")
    assert "_native" in targets(tmp_path / "build")

"""Nothing that a pickle names is run, whatever the opcodes: no gadget leaves its file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cpm_lm.checkpoints.containers.torch_file import read_torch_file
from tests.hostile.gadgets import CALLS, CONTROLS, NAMES, REFUSED, arguments
from tests.hostile.harness import Case, Server, check
from tests.hostile.torch_files import CONTAINERS, NAME, shard

both = pytest.mark.parametrize("container", CONTAINERS)


@both
@pytest.mark.parametrize("family", CALLS)
def test_no_family_of_opcodes_runs_any_name(
    server: Server, tmp_path: Path, family: str, container: str
) -> None:
    mark = tmp_path / "owned"
    call = CALLS[family]
    each = [call(m, n, a) for m, n in NAMES for a in arguments(str(mark))]
    folder = tmp_path / "model"
    folder.mkdir()
    beside = b"](" + b"".join(each) + b"e"
    case = Case(name=family, make=lambda _: shard(folder, beside, container))
    check(server, case, tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"model"}
    assert [entry.name for entry in folder.iterdir()] == [NAME]


@both
@pytest.mark.parametrize("family", REFUSED)
def test_what_no_file_of_torch_has_is_refused(
    server: Server, tmp_path: Path, family: str, container: str
) -> None:
    opcodes, error = REFUSED[family]
    case = Case(name=family, make=lambda d: shard(d, opcodes, container), error=error)
    check(server, case, tmp_path)


@pytest.mark.parametrize("family", CONTROLS)
def test_the_gadgets_are_live(tmp_path: Path, family: str) -> None:
    """Python's own machine runs them; else the tests above would prove nothing."""
    mark = tmp_path / "owned"
    opcodes = CALLS[family]("os", "system", arguments(str(mark))[0])
    (tmp_path / "x").write_bytes(b"\x80\x04" + opcodes + b".")
    program = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
    subprocess.run([sys.executable, "-S", "-c", program, str(tmp_path / "x")], check=True)
    assert mark.exists()


def test_every_name_is_told_and_none_is_imported(tmp_path: Path) -> None:
    before = set(sys.modules)
    calls = b"".join(CALLS["REDUCE"](m, n, a) for m, n in NAMES for a in arguments("x"))
    named: list[str] = []
    read_torch_file(shard(tmp_path, b"](" + calls + b"e") / NAME, named.append)
    wanted = {f"{m.replace('__builtin__', 'builtins')}.{n}" for m, n in NAMES}
    assert set(named) == wanted
    assert len(named) == len(wanted)
    new = set(sys.modules) - before
    assert {name for name in new if not name.startswith("encodings.")} == set()

"""requirements.lock holds what the package installs, by digest; and what `make audit` says."""

from __future__ import annotations

import re
import stat
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support import audit

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENTRY = re.compile(
    r"^([a-z0-9-]+)==([^ ;]+)(?: ; [^\\]*)? *((?:\\\n +--hash=sha256:[0-9a-f]{64} *)+)$", re.M
)


def canonical(requirement: str) -> str:
    found = re.match(r"[\w.-]+", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def test_the_lock_covers_every_dependency_and_extra() -> None:
    wanted = {canonical(each) for each in PROJECT["dependencies"]}
    for extra in PROJECT["optional-dependencies"].values():
        wanted |= {canonical(each) for each in extra}
    assert {"numpy", "huggingface-hub", "tensorflow"} < wanted
    assert wanted <= {found[1] for found in ENTRY.finditer(LOCK)}


def test_every_entry_has_a_version_and_a_digest_and_nothing_else() -> None:
    rest = ENTRY.sub("", LOCK)
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []


def test_locked_versions_are_those_that_are_asked_for() -> None:
    packaging = pytest.importorskip("packaging.requirements")
    locked: dict[str, set[str]] = {}
    for found in ENTRY.finditer(LOCK):
        locked.setdefault(found[1], set()).add(found[2])
    extras = PROJECT["optional-dependencies"].values()
    for text in [*PROJECT["dependencies"], *(each for extra in extras for each in extra)]:
        asked = packaging.Requirement(text)
        assert all(asked.specifier.contains(each) for each in locked[canonical(asked.name)]), text


def test_the_lock_names_no_place() -> None:
    """Whoever installs chooses the index; an address would go around their mirror."""
    assert not re.search(r"://|index|find-links|trusted-host|pypi|\.org|\.com| @ ", LOCK)
    assert "torch==" not in LOCK


NO_DATA = '{"dependencies": [{"name": "a", "skip_reason": "not found"}]}'
CLEAN = '{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}'
FOUND = (
    '{"dependencies": [{"name": "a", "version": "1", '
    '"vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}'
)


@pytest.mark.skipif(sys.platform == "win32", reason="a script in place of pip-audit")
@pytest.mark.parametrize(
    ("stdout", "stderr", "status", "code", "said"),
    [
        (CLEAN, "", 0, 0, "1 packages looked up, 0 vulnerabilities\n"),
        (FOUND, "", 1, 1, "a 1: CVE-1, fixed in 2\n"),
        (NO_DATA, "No known vulnerabilities found", 0, 0, "NOT AUDITED: .* no data for 1 of 1"),
        ("", "requests.exceptions.ConnectionError: no", 1, 0, r"NOT AUDITED: .* cannot be reached"),
        ("", "ERROR: requirements.lock is invalid", 1, 2, r"pip-audit failed \(1\): ERROR"),
        ("", "", 127, 2, r"pip-audit failed \(127\)"),
    ],
)
def test_audit_fails_for_findings_and_says_what_was_not_looked_up(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    stdout: str,
    stderr: str,
    status: int,
    code: int,
    said: str,
) -> None:
    """pip-audit itself reports no vulnerabilities where its service knows none of the packages."""
    program = tmp_path / "pip-audit"
    program.write_text(
        f"#!/bin/sh\ncat <<'E'\n{stdout}\nE\ncat >&2 <<'E'\n{stderr}\nE\nexit {status}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    assert audit.main((str(program),)) == code
    assert re.search(said, capsys.readouterr().out)

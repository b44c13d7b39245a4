"""`make audit`: look up known vulnerabilities of the packages in requirements.lock, by pip-audit.

pip-audit says "No known vulnerabilities" also for packages that its service does not know, for
example behind a mirror. Here one line says what was not looked up.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[2] / "requirements.lock"
OPTIONS = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off")
UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|Max retries|ProxyError|SSLError|resolve|"
    r"HTTPError|ServiceError",
    re.IGNORECASE,
)
"""What pip-audit prints if its service cannot be used."""


def main(command: tuple[str, ...] = (sys.executable, "-m", "pip_audit")) -> int:
    """Run pip-audit, print the findings, and return the exit status: 1 only for findings."""
    done = subprocess.run(
        [*command, *OPTIONS, "--requirement", str(LOCK)],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        said = done.stderr.strip().splitlines() or ["nothing"]
        if not UNREACHABLE.search(done.stderr):
            print(f"pip-audit failed ({done.returncode}): {said[-1][:300]}")  # noqa: T201
            return 2
        print(f"NOT AUDITED: the vulnerability service cannot be reached ({said[-1][:160]})")  # noqa: T201
        return 0
    lines, findings = report(packages)
    print("\n".join(lines))  # noqa: T201
    return 1 if findings else 0


def report(packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """Return what to print about pip-audit's result, and the number of findings."""
    found = [
        f"{package['name']} {package['version']}: {each['id']}, "
        f"fixed in {', '.join(each.get('fix_versions') or ['no version'])}"
        for package in packages
        for each in package.get("vulns", ())
    ]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    looked_up = len(packages) - len(skipped)
    lines = [*found, f"{looked_up} packages looked up, {len(found)} vulnerabilities"]
    if skipped:
        more = f" and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        lines.append(
            f"NOT AUDITED: the vulnerability service has no data for {len(skipped)} of "
            f"{len(packages)} packages: {', '.join(skipped[:5])}{more}"
        )
    return lines, len(found)


if __name__ == "__main__":
    sys.exit(main())

"""Only `storage` makes temporary names, renames and removes; no other code can follow a link."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cpm_lm

PACKAGE = Path(cpm_lm.__file__).parent
FORBIDDEN = {
    "tempfile": {"mkdtemp", "mkstemp", "mktemp", "TemporaryDirectory", "NamedTemporaryFile"},
    "shutil": {"rmtree", "move", "copytree"},
    "os": {
        "rename",
        "replace",
        "remove",
        "unlink",
        "rmdir",
        "removedirs",
        "symlink",
        "link",
        "open",
    }
    | {"mkfifo", "truncate", "fsync", "makedirs"},
}
METHODS = {"rename", "unlink", "rmdir", "symlink_to", "hardlink_to", "touch"}
ALLOWED = {
    # A parent directory of the target that was made for it, empty, after a failure.
    ("checkpoints/staging.py", "rmdir"),
    # By an open Directory: these are the calls of `storage`.
    ("checkpoints/staging.py", "rename"),
    ("hub/cache.py", "rename"),
    ("hub/cache.py", "unlink"),
    ("hub/transfer.py", "rename"),
    ("hub/transfer.py", "unlink"),
    ("hub/transfer.py", "os.fsync"),  # of an open file
    ("tokenizer/words_cache.py", "unlink"),
    ("cli/console.py", "os.open"),  # os.devnull
    ("files.py", "os.open"),  # to read
    # What the user asks to remove, or named; removing a link does not follow it.
    ("checkpoints/removal.py", "unlink"),
    ("checkpoints/removal.py", "rmdir"),
    ("generation/presets.py", "unlink"),
    ("evaluation/state.py", "unlink"),
    ("cli/eval_output.py", "unlink"),
}


def calls() -> Iterator[tuple[str, str]]:
    """Every call that makes, renames or removes a name, outside `storage`."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("storage/"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in FORBIDDEN:
                yield from ((name, each.name) for each in node.names)
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            of = node.func.value
            module = of.id if isinstance(of, ast.Name) else ""
            if node.func.attr in FORBIDDEN.get(module, set()):
                yield name, f"{module}.{node.func.attr}"
            elif module not in FORBIDDEN and node.func.attr in METHODS:
                yield name, node.func.attr


def test_no_other_code_makes_renames_or_removes_names() -> None:
    assert set(calls()) == ALLOWED

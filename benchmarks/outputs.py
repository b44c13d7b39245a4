"""Record what the program prints and computes, and compare two records.

A change of structure must change no output:

    python -m benchmarks.outputs record before.json
    python -m benchmarks.outputs compare before.json after.json

`record` runs a few dozen commands and calls on every installed engine. It records their texts, JSON
and the files' digests; the logits go to an .npz file beside it. `compare` requires equal texts and
files, bit-identical logits for `native` and `reference`, and logits within 1e-6 for other engines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import cpm_lm
from cpm_lm.choices import EngineName
from cpm_lm.engines.forest import chain

DEMO = Path(cpm_lm.__file__).parent / "demo"
DATA = Path(__file__).parent.parent / "tests" / "data" / "checkpoints"
EXACT = ("native", "reference")
TOLERANCE = 1e-6
SUMS = "12+5=17,30+41=71,25+16=41,18+33=51,46+27="
ANSWER = ("--answer", "number", "--seed", "1", "--json")

# These differ between runs or versions: durations, the version, random seeds, TensorFlow's log.
VOLATILE = (
    (re.compile(r'"seconds": [0-9.e-]+'), '"seconds": 0'),
    (re.compile(r"[0-9.]+ s, "), "0 s, "),
    (re.compile(r"cpm-lm \d+\.\d+\.\d+"), "cpm-lm VERSION"),
    (re.compile(r"# seed \d{9,}"), "# seed CHOSEN"),
    (re.compile(r"^[EIW]0000 .*\n", re.MULTILINE), ""),
)
FRACTION = re.compile(r"-?\d+\.\d{6,}(e-\d+)?")
"""A number with all its digits; those of Keras are compared to four significant digits."""

Recorded = dict[str, str]


def commands(work: Path) -> Iterator[tuple[str | Path, ...]]:
    """The command lines; later ones use the files of earlier ones."""
    shards, halves = DATA / "tiny-mp2", DATA / "tiny-mp2-fp16"
    text = work / "text.txt"
    text.write_text("床前明月光，疑是地上霜。举头望明月，低头思故乡。今天的天空很蓝。" * 3, "utf-8")
    for weights in ("f32", "f16", "bf16", "q8", "q4"):
        yield "convert", shards, work / weights, "--heads", "4", "--weights", weights, "--json"
    yield "convert", halves, work / "from-fp16", "--heads", "4"
    yield "convert", work / "f32", work / "ranks", "--to", "megatron", "--ranks", "2", "--json"
    yield "convert", work / "q8", work / "again", "--weights", "f16"
    yield "convert", DEMO, work / "demo-q4", "--weights", "q4", "--json"
    for path in (shards, halves, work / "q4", work / "ranks", DEMO, work / "demo-q4"):
        yield "inspect", path
        yield "inspect", path, "--json", "--no-digests"
    for path in (DEMO, work / "demo-q4", work / "q8"):
        yield "verify", path, "--json"
    yield "verify", work / "f16", "--against", shards, "--heads", "4"
    yield "compare", DEMO, work / "demo-q4", "--text", text, "--json"
    for engine in engines():
        on = ("--engine", engine)
        yield "sample", "床前明月光，", "-n", "5", "--seed", "2", "--max-tokens", "24", *on
        yield "sample", "今天天气", "-n", "40", "--seed", "3", "--max-tokens", "12", "--json", *on
        yield "sample", "1+1=2,1+2=3,1+3=4,1+4=", "--temperature", "0", "--max-tokens", "3", *on
        yield "sample", "他说", "--seed", "4", "--order", "cpm", "--top-k", "20", "--json", *on
        yield "sample", "白日", "--seed", "5", "--stop", "。", "--stop", "，", "-n", "3", *on
        slide = ("--overflow", "slide", "--max-tokens", "700", "--memory", "60000000")
        yield "sample", "从前", "--seed", "6", "-n", "2", *slide, "--json", *on
        yield "next", "今天的天空好", "--also", "黑", "--json", *on
        yield "next", "猫的英文是", "-k", "4", *on
        for method in ("sample", "stratified", "exact"):
            yield "vote", SUMS, "--method", method, *ANSWER, *on
        yield "vote", SUMS, "--confidence", "0.95", *ANSWER, *on
    yield "vote", "问：法国的首都是哪里？答：", "-n", "50", "--seed", "8"
    yield "sample", ""
    yield "sample", "天", "--temperature", "-1"
    yield "sample", "天", "-m", work / "f32"
    yield "convert", work / "nothing", work / "never"
    yield "convert", shards, work / "f32"


def engines() -> list[str]:
    """The installed engines."""
    return [*EXACT, *(name for name in ("tensorflow", "jax") if find_spec(name))]


def run(words: tuple[str | Path, ...], work: Path) -> str:
    """Return the exit code and the output of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "cpm_lm", *map(str, words)], capture_output=True, check=False
    )
    out, err = (stream.decode("utf-8") for stream in (done.stdout, done.stderr))
    return without_paths(f"{done.returncode}\n{out}\n{err}", work)


def without_paths(text: str, work: Path) -> str:
    """Return a text without the paths of this machine."""
    for path, name in ((work, "WORK"), (DEMO, "DEMO"), (DATA, "DATA")):
        text = text.replace(str(path), name)
    return text


def normalized(name: str, text: str | None) -> str | None:
    """Return a record without what differs between runs."""
    if text is None:
        return None
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    if "--engine" in name and not name.endswith(EXACT):
        text = FRACTION.sub(lambda found: f"{float(found[0]):.4g}", text)
    return text


def logits(work: Path, engine: EngineName) -> dict[str, Any]:
    """Return an engine's logits of each model for a chain, a tree, and reused slots."""
    found = {}
    models = {"demo": DEMO, "demo-q4": work / "demo-q4"}
    models |= {weights: work / weights for weights in ("f32", "f16", "bf16", "q8", "q4")}
    for name, path in models.items():
        opened = cpm_lm.open_engine(path, engine=engine)
        rng = np.random.default_rng(7)
        size = opened.config.vocab_size
        length = min(40, opened.config.n_positions - 2)
        session = opened.session(400)
        ids = rng.integers(0, size, length)
        nodes, found[f"{name}-chain"] = session.extend(ids, chain(length), list(range(length)))
        parents = rng.choice(nodes[: length // 2], 60).tolist()
        leaves, found[f"{name}-tree"] = session.extend(
            rng.integers(0, size, 60), parents, list(range(60))
        )
        session.release(leaves[::2])
        below = leaves[1::2].tolist()
        again = session.extend(rng.integers(0, size, len(below)), below, list(range(len(below))))
        found[f"{name}-reused"] = again[1]
    return {f"{engine}-{name}": values for name, values in found.items()}


def record(target: Path) -> None:
    """Run everything and write the record."""
    found: Recorded = {}
    arrays: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory).resolve()
        for words in commands(work):
            name = without_paths(" ".join(map(str, words)), work)
            found[name] = run(words, work)
            print(f"{hashlib.sha256(found[name].encode()).hexdigest()[:12]}  {name}", flush=True)
        for file in sorted(work.rglob("*")):
            if file.is_file() and file.name != "manifest.json":
                digest = hashlib.sha256(file.read_bytes()).hexdigest()
                found[f"file {file.relative_to(work)}"] = digest
        for engine in engines():  # Keras has one backend per process
            kept = work / f"{engine}.npz"
            call = [sys.executable, "-m", "benchmarks.outputs", "logits", engine, str(work)]
            subprocess.run([*call, str(kept)], check=True, env=os.environ | {"CPM_THREADS": "2"})
            arrays |= dict(np.load(kept))
    target.write_text(json.dumps(found, ensure_ascii=False, indent=1), "utf-8")
    np.savez(target.with_suffix(".npz"), **arrays)


def differences(before: Path, after: Path) -> Iterator[str]:
    """Yield a line for every difference."""
    old, new = (json.loads(path.read_text("utf-8")) for path in (before, after))
    for name in old | new:
        was, now = (normalized(name, records.get(name)) for records in (old, new))
        if was != now:
            yield f"{name}\n--- before\n{was}\n--- after\n{now}"
    a, b = (np.load(path.with_suffix(".npz")) for path in (before, after))
    for name in sorted(set(a) | set(b)):
        if name not in a.files or name not in b.files:
            yield f"{name} is in one record only"
        elif name.startswith(EXACT):
            if a[name].tobytes() != b[name].tobytes():
                yield f"{name}: the bits differ"
        elif (apart := float(np.abs(a[name] - b[name]).max())) > TOLERANCE:
            yield f"{name}: logits differ by {apart:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("record").add_argument("target", type=Path)
    pair = verbs.add_parser("compare")
    pair.add_argument("before", type=Path)
    pair.add_argument("after", type=Path)
    part = verbs.add_parser("logits")  # called by `record`
    part.add_argument("engine")
    part.add_argument("work", type=Path)
    part.add_argument("target", type=Path)
    given = parser.parse_args()
    if given.verb == "record":
        record(given.target)
    elif given.verb == "logits":
        np.savez(given.target, **logits(given.work, given.engine))
    else:
        found = list(differences(given.before, given.after))
        print("\n\n".join(found) or "no differences")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()

"""Make the small model, or one step of it: `python -m recipes.demo STEP CORPUS WORK`.

prepare: texts, tokenizer and ids. train: the model. build: the store in the package. evaluate: the
figures. record: copy figures and log to the recipe, and write the cards' tables.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipes.demo.settings import Settings

RESULTS = Path(__file__).parent / "results"
"""Settings, figures and log of the run that made the packaged model; committed."""


def _prepare(corpus: Path, work: Path, settings: Settings) -> dict[str, Any]:
    from recipes.demo.prepare import prepare

    return prepare(corpus, work, settings)


def _train(corpus: Path, work: Path, settings: Settings) -> dict[str, Any]:
    del corpus
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from recipes.demo.train import train

    return train(work, settings)


def _build(corpus: Path, work: Path, settings: Settings) -> dict[str, Any]:
    del corpus
    from recipes.demo.build import build

    return build(work, settings)


def _evaluate(corpus: Path, work: Path, settings: Settings) -> dict[str, Any]:
    del corpus
    from recipes.demo.evaluate import evaluate

    return evaluate(work, settings)


def _record(corpus: Path, work: Path, settings: Settings) -> dict[str, Any]:
    del corpus, settings
    from recipes.demo.build import PACKAGED
    from recipes.demo.card import write

    RESULTS.mkdir(exist_ok=True)
    files = [work / "log.jsonl", *sorted(work.glob("*.json"))]
    files = [file for file in files if file.stem != "record"]
    for file in files:
        shutil.copyfile(file, RESULTS / file.name)
    write(json.loads((work / "evaluate.json").read_text("utf-8")), PACKAGED / "README.md")
    return {"recorded": [file.name for file in files]}


STEPS: dict[str, Callable[[Path, Path, Settings], dict[str, Any]]] = {
    "prepare": _prepare,
    "train": _train,
    "build": _build,
    "evaluate": _evaluate,
    "record": _record,
}


def main() -> None:
    """Run the chosen steps and write the figures of each into the work directory."""
    parser = argparse.ArgumentParser(prog="python -m recipes.demo", description=__doc__)
    parser.add_argument("step", choices=[*STEPS, "all"])
    parser.add_argument("corpus", type=Path, help="the directory of collections")
    parser.add_argument("work", type=Path, help="the directory of intermediate files")
    args = parser.parse_args()
    settings = Settings()
    args.work.mkdir(parents=True, exist_ok=True)
    (args.work / "settings.json").write_text(
        json.dumps(dataclasses.asdict(settings), indent=2) + "\n", "utf-8"
    )
    for name in STEPS if args.step == "all" else [args.step]:
        figures = STEPS[name](args.corpus, args.work, settings)
        text = json.dumps(figures, indent=2, ensure_ascii=False)
        (args.work / f"{name}.json").write_text(text + "\n", "utf-8")
        print(f"{name}: {text}", flush=True)


if __name__ == "__main__":
    main()

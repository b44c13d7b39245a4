"""Score the candidates of items: one tree an item, each candidate by itself, and Hugging Face.

    python -m benchmarks.scoring --data DIR                    # the model in the package
    python -m benchmarks.scoring --data DIR --random           # 109 M random weights
    python -m benchmarks.scoring --data DIR --weights q8
    python -m benchmarks.scoring --data DIR --write            # all four, into docs/performance

Two workloads of real items, whose candidates share much (`DIR` is as for `cpm eval`): C3, one
passage with its answers, and TNEWS with eight shots, one header with fifteen labels. Hugging Face
and lm-evaluation-harness's own `hf` (where lm-eval is installed) score batches of 16 padded
sequences in float32. All run in turn; medians of the rounds. The float32 scores must be equal to
1e-4. Saved is 1 - t_shared / t_apart, over
1 - rows_shared / rows_apart: 1 is all that sharing can save.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

import cpm_lm
from benchmarks.machine import describe
from benchmarks.pages import translated, write_pages
from benchmarks.peers.files import Random
from cpm_lm.checkpoints.layouts.store import Store, write_model
from cpm_lm.config import GPTConfig
from cpm_lm.decoding.path_scores import BATCH, path_scores, rows_apart
from cpm_lm.decoding.path_scores import Path as TokenPath
from cpm_lm.decoding.scheduler import run
from cpm_lm.engines.base import Engine
from cpm_lm.evaluation.items import Item, find_file, read_items
from cpm_lm.evaluation.questions import Questioner
from cpm_lm.evaluation.task_file import load_task

SHAPE = GPTConfig(vocab_size=21128, n_positions=1024, n_embd=768, n_layer=12, n_head=12)
"""GPT2-Chinese's: 102 M parameters, 109 M with an embedding of its own."""
PAGE = Path(__file__).parent.parent / "docs/performance.md"
MARK = "python -m benchmarks.scoring"
PHRASES = {
    r"(\d+) threads, (\d+) rounds\. (.*)\.$": r"\1 个线程，\2 轮。\3。",
    r", (\d+) cores, load (\S+), (\S+), commit (\S+)。$": r"，\1 核，负载 \2，\3，提交 \4。",
    r"\| model \| weights \| items \| rows shared \| rows apart \| one tree \| each apart \|": (
        "| 模型 | 权重 | 题目 | 合并后的行 | 分开的行 | 合成一棵树 | 各自打分 |"
    ),
    r"Hugging Face, float32": "Hugging Face，float32",
    r"lm-eval hf, float32": "lm-eval hf，float32",
    r"saved of possible": "节省占可节省的比例",
    r"109 M random": "109 M 随机权重",
    r"\| demo \|": "| 自带模型 |",
}
"""The table's words in Chinese; see `pages.translated`."""
PADDED = 16
TOLERANCE = 1e-4

Work = list[list[TokenPath]]
"""The paths of each item."""


def workload(name: str, data: Path, items: int, shots: int, vocab: int, context: int) -> Work:
    """Return the paths of a task's first items, as ids of the packaged vocabulary."""
    task, tokenizer = load_task(name), cpm_lm.Tokenizer.load(cpm_lm.DEMO)
    taken: list[Item] = read_items(task, find_file(task, data, task.data.test))[:items]
    shown = read_items(task, find_file(task, data, task.data.train))[:shots]
    end = min(tokenizer.end_ids)

    def room(prompt: str, continuation: str) -> bool:
        return len(tokenizer.encode(prompt)) + len(tokenizer.encode(continuation)) < context

    asker = Questioner(task, next(iter(task.protocols.values())), shown, 0, room)
    work: Work = []
    for number, item in enumerate(taken):
        paths = []
        for candidate in asker.question(item, number).candidates:
            before = tokenizer.encode(candidate.prompt) or [end]
            ids = [i % vocab for i in (*before, *tokenizer.encode(candidate.continuation))]
            paths.append(TokenPath(tuple(ids), len(before)))
        work.append(paths)
    return work


def shared(engine: Engine, work: Work) -> list[float]:
    """Score each item as one tree."""
    scores = []
    for paths in work:
        session = engine.session(max(len(path.ids) for path in paths) + BATCH)
        found = run(session, path_scores(paths))
        scores += [sum(token.logprob for token in tokens) for tokens in found.tokens]
    return scores


def apart(engine: Engine, work: Work) -> list[float]:
    """Score each candidate by itself."""
    return shared(engine, [[path] for paths in work for path in paths])


def hugging_face(store: Path, threads: int) -> Callable[[Work], list[float]]:
    """Return a function that scores padded batches with transformers."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    gpt = transformers.GPT2LMHeadModel.from_pretrained(store, dtype=torch.float32).eval()

    def score(work: Work) -> list[float]:
        paths = [path for paths in work for path in paths]
        scores: list[float] = []
        with torch.inference_mode():
            for start in range(0, len(paths), PADDED):
                batch = paths[start : start + PADDED]
                width = max(len(path.ids) for path in batch) - 1
                ids = torch.zeros(len(batch), width, dtype=torch.long)
                mask = torch.zeros(len(batch), width, dtype=torch.long)
                for row, path in enumerate(batch):
                    ids[row, : len(path.ids) - 1] = torch.tensor(path.ids[:-1])
                    mask[row, : len(path.ids) - 1] = 1
                logits = gpt(ids, attention_mask=mask).logits
                for row, path in enumerate(batch):
                    own = logits[row, path.start - 1 : len(path.ids) - 1].log_softmax(-1)
                    targets = torch.tensor(path.ids[path.start :])[:, None]
                    scores.append(float(own.gather(1, targets).sum()))
        return scores

    return score


def harness(store: Path, folder: Path, vocab: int) -> Callable[[Work], list[float]] | None:
    """Return a function that scores as `lm_eval --model hf` does; None: lm-eval is missing.

    It gets the ids, so its tokenizer is not used; it must have one.
    """
    if importlib.util.find_spec("lm_eval") is None:
        print("lm-eval is not installed: its own hf is left out")
        return None
    import transformers
    from lm_eval.models.huggingface import HFLM

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"[{i}]" for i in range(5, vocab))]
    (folder / "vocab.txt").write_text("\n".join(pieces), "utf-8")
    gpt = transformers.GPT2LMHeadModel.from_pretrained(store)
    lm = HFLM(
        pretrained=gpt,
        tokenizer=transformers.BertTokenizer(str(folder / "vocab.txt")),
        device="cpu",
        batch_size=PADDED,
        add_bos_token=False,
    )

    def score(work: Work) -> list[float]:
        requests = [
            (("", str(number)), list(path.ids[: path.start]), list(path.ids[path.start :]))
            for number, path in enumerate(path for paths in work for path in paths)
        ]
        return [float(found) for found, _ in lm._loglikelihood_tokens(requests, disable_tqdm=True)]

    return score


def timed(call: Callable[[], list[float]]) -> tuple[float, list[float]]:
    start = time.perf_counter()
    scores = call()
    return time.perf_counter() - start, scores


def measure(
    name: str, work: Work, calls: Mapping[str, Callable[[], list[float]]], rounds: int
) -> dict[str, Any]:
    """Run all in turn and return the medians; print them."""
    seconds: dict[str, list[float]] = {each: [] for each in calls}
    scores: dict[str, list[float]] = {}
    for call in calls.values():
        call()  # warm
    for _ in range(rounds):
        for each, call in calls.items():
            took, scores[each] = timed(call)
            seconds[each].append(took)
    ours, alone = _rows(work, whole=True), _rows(work, whole=False)
    medians = {each: statistics.median(took) for each, took in seconds.items()}
    saved = 1 - medians["shared"] / medians["apart"]
    possible = 1 - ours / alone
    print(f"{name}: {len(work)} items, {ours} rows shared, {alone} apart")
    for each, took in medians.items():
        low, high = min(seconds[each]), max(seconds[each])
        rate = len(work) / took
        print(f"  {each:14} {rate:8.2f} items/s  ({low:.2f} to {high:.2f} s)")
    print(f"  saved {saved:.3f} of {possible:.3f} possible: {saved / possible:.2f}")
    differences = {
        each: float(np.abs(np.subtract(found, scores["shared"])).max())
        for each, found in scores.items()
    }
    print(f"  largest difference of scores: {differences}")
    return {
        "workload": name,
        "items": len(work),
        "rows_shared": ours,
        "rows_apart": alone,
        "seconds": seconds,
        "saved_of_possible": saved / possible,
        "differences": differences,
    }


def _rows(work: Sequence[Sequence[TokenPath]], *, whole: bool) -> int:
    """Return the rows of all items, each as one tree or each candidate by itself."""
    if not whole:
        return sum(rows_apart(paths) for paths in work)
    return sum(
        len({path.ids[:size] for path in paths for size in range(1, len(path.ids))})
        for paths in work
    )


def measured(options: argparse.Namespace, *, random: bool, weights: str) -> list[dict[str, Any]]:
    """Return the results of one model on both workloads.

    Args:
        options: the command's.
        random: whether the model is 109 M random weights, or the one in the package.
        weights: f32 or q8.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store, used = folder / "f32", folder / weights
        for path in dict.fromkeys((store, used)):
            if random:
                path.mkdir()
                write_model(path, SHAPE, Random(SHAPE, 0), path.name)
            else:
                cpm_lm.convert(cpm_lm.DEMO, path, weights=cast(Any, path.name))
        config = Store.open(store).config
        engine = cpm_lm.open_engine(used, engine="native", threads=options.threads)
        others = {}
        if weights == "f32":  # what they compute, whatever our weights are
            others["Hugging Face"] = hugging_face(store, options.threads)
            if by_harness := harness(store, folder, config.vocab_size):
                others["lm-eval hf"] = by_harness
        results = []
        for task, shots in (("c3", 0), ("tnews", 8)):
            work = workload(
                task, options.data, options.items, shots, config.vocab_size, config.n_positions
            )
            calls = {"shared": partial(shared, engine, work), "apart": partial(apart, engine, work)}
            calls |= {each: partial(score, work) for each, score in others.items()}
            found = measure(task, work, calls, options.rounds)
            if weights == "f32":
                assert max(found["differences"].values()) < TOLERANCE
            results.append(found | {"model": "109 M random" if random else "demo", "bits": weights})
        return results


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return the results as Markdown, in English; items a second, medians."""
    rows = [
        "| model | weights | items | rows shared | rows apart | one tree | each apart "
        "| Hugging Face, float32 | lm-eval hf, float32 | saved of possible |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for found in results:
        rates = []
        for name in ("shared", "apart", "Hugging Face", "lm-eval hf"):
            took = found["seconds"].get(name)
            rates.append(f"{found['items'] / statistics.median(took):.2f}" if took else "")
        cells = [found["model"], found["bits"], f"{found['items']} {found['workload']}"]
        cells += [f"{found['rows_shared']:,}", f"{found['rows_apart']:,}", *rates]
        rows.append("| " + " | ".join([*cells, f"{found['saved_of_possible']:.2f}"]) + " |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", default="f32", choices=("f32", "q8"))
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    machine = describe()
    print(machine)
    models = [(options.random, options.weights)]
    if options.write:
        models = [(random, weights) for random in (False, True) for weights in ("f32", "q8")]
    results = [
        each
        for random, weights in models
        for each in measured(options, random=random, weights=weights)
    ]
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "results": results}, indent=2))
    if options.write:
        about = f"{options.threads} threads, {options.rounds} rounds. {machine}."
        english = f"{about}\n\n{table(results)}"
        write_pages(PAGE, MARK, chinese=translated(english, PHRASES), english=english)


if __name__ == "__main__":
    main()

"""The error of 16, 8 and 4 bits: predictions against those of float32, on the packaged model.

    python -m benchmarks.quality                 # print the table
    python -m benchmarks.quality --write         # put it into docs/performance.md and its twin
    python -m benchmarks.quality --tried         # other rounding methods too

The texts are prose written for this project, poems, and samples of the model with fixed seeds; then
random ids. The formats are stores that `convert` wrote; the rounding methods that are not in the
package are float32 stores of rounded weights. Nothing is timed.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.pages import translated, write_pages
from benchmarks.roundings import TRIED
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.layout import Dims, is_transposed, shapes
from cpm_lm.checkpoints.layouts.store import Store, write_model
from cpm_lm.checkpoints.quantization.formats import format_of, stored_bytes
from cpm_lm.checkpoints.tensors import ShardedTensor, Tensor
from cpm_lm.engines.base import Engine
from cpm_lm.engines.select import open_engine
from cpm_lm.evaluation.divergence import Divergence, divergence
from cpm_lm.model import DEMO, load
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.sanity import PROSE

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
MARK = "python -m benchmarks.quality"
PHRASES = {
    r"^([\d,]+) tokens of text, ([\d,]+) with a first choice that leads by more than ([\d.]+); "
    r"([\d,]+) random ones\. Engine (\w+), commit (\S+)\.$": (
        r"文字 \1 个词元，其中 \2 个的首选领先 \3 以上；随机编号 \4 个。引擎 \5，提交 \6。"
    ),
    r"^\| weights \| bits a weight \| relative error \| KL \| worst KL \| same first choice \| "
    r"same first choice where it leads \| perplexity, ratio \| KL, random ids \|$": (
        "| 权重 | 每个权重的位数 | 相对误差 | KL | 最大 KL | 首选一致率 | 领先处的首选一致率 "
        "| 困惑度之比 | 随机编号的 KL |"
    ),
    r"^\| (\d) bits, ": r"| \1 位，",
    r"nothing cut off": "不截断",
    r"signed scales searched": "搜索带符号的缩放系数",
    r"scales searched": "搜索缩放系数",
    r"signed scales": "带符号的缩放系数",
    r"minimum searched": "搜索最小值",
    r"minimum(?=, groups)": "带最小值",
    r"(HQQ)?, groups of (\d+) ": r"\1，\2 个一组 ",
    r"，groups of (\d+) ": r"，\1 个一组 ",
}
"""The report's words in Chinese; see `pages.translated`."""
POEMS = (
    "静夜思\n李白\n床前明月光，疑是地上霜。举头望明月，低头思故乡。\n"
    "春晓\n孟浩然\n春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n"
    "登鹳雀楼\n王之涣\n白日依山尽，黄河入海流。欲穷千里目，更上一层楼。\n"
)
PROMPTS = (
    "今天的天气很好，",
    "静夜思\n李白\n",
    "从前，",
    "他走进房间，",
    "中国的首都是",
    "春风",
)
FORMATS = ("f16", "bf16", "q8", "q4")
TARGETS = {"q8": 1e-3, "q4": 3e-2}
"""The upper limit of the mean KL, for each kind of text."""
SAME = 0.995
"""How often q8 and float32 must have the same first choice, where it leads by more than 0.1."""


@dataclass(frozen=True)
class Line:
    """The error of one format or rounding method."""

    name: str
    bits: float
    """Bits a weight, scales included."""
    error: float
    """Relative error in the norm: the median of the blocks' matrices."""
    text: Divergence
    random: Divergence


def texts(count: int) -> list[list[int]]:
    """Return the ids of all texts, each within the context."""
    model, tokenizer = load(engine="auto"), Tokenizer.load(DEMO)
    written = [
        prompt + sample.text
        for at, prompt in enumerate(PROMPTS)
        for sample in model.sample(
            prompt, n=count, max_tokens=200, temperature=1.0, top_p=1.0, seed=at
        )
    ]
    length = Store.open(DEMO).config.n_positions
    return [tokenizer.encode(text)[:length] for text in (PROSE, POEMS, *written)]


def random_ids() -> list[list[int]]:
    config = Store.open(DEMO).config
    draw = np.random.Generator(np.random.Philox(key=2))
    return [draw.integers(0, config.vocab_size, config.n_positions).tolist() for _ in range(2)]


def write_rounded(base: Store, name: str, directory: Path) -> Path:
    """Write a float32 store with weights rounded by a method of TRIED."""
    _, embedding, method = TRIED[name]
    tensors = {}
    with tempfile.TemporaryDirectory() as folder:
        convert(base.directory, Path(folder) / "q8", weights="q8")
        eight = Store.open(Path(folder) / "q8").float32("wte.weight")
    for tensor in base.names:
        array = base.float32(tensor)
        if tensor == "wte.weight" and not embedding:
            array = eight
        elif format_of("q4", tensor) is not None:
            array = method(array.T).T if is_transposed(tensor) else method(array)
        tensors[tensor] = ShardedTensor((Tensor(np.ascontiguousarray(array, np.float32), "F32"),))
    directory.mkdir()
    write_model(directory, base.config, tensors, "f32")
    return directory


def error(base: Store, other: Store) -> float:
    names = [n for n in shapes(Dims.of(base.config)) if n != "wte.weight" and format_of("q4", n)]
    pairs = ((base.float32(name), other.float32(name)) for name in names)
    return float(np.median([np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairs]))


def measure(args: argparse.Namespace, scratch: Path) -> Iterator[Line]:
    """Yield a line for each format and each rounding method."""
    convert(DEMO, scratch / "f32", weights="f32")
    base, first = Store.open(scratch / "f32"), engine(scratch / "f32", args)
    words, ids = texts(args.samples), random_ids()
    for name in (*FORMATS, *(TRIED if args.tried else ())):
        if name in TRIED:
            write_rounded(base, name, scratch / name)
            bits = TRIED[name][0]
        else:
            convert(scratch / "f32", scratch / name, weights=name)
            dims = Dims.of(base.config)
            bits = 8 * stored_bytes(dims, name) / base.config.parameter_count
        second = engine(scratch / name, args)
        line = Line(
            name=name,
            bits=bits,
            error=error(base, Store.open(scratch / name)),
            text=divergence(first, second, words),
            random=divergence(first, second, ids),
        )
        print(row(line), flush=True)
        yield line


def engine(directory: Path, args: argparse.Namespace) -> Engine:
    return open_engine(directory, engine=args.engine)


def row(line: Line) -> str:
    text, random = line.text, line.random
    assert text.same_top_sure is not None
    return (
        f"| {line.name} | {line.bits:.2f} | {line.error:.4f} | {text.mean_kl:.2g} | "
        f"{text.worst_kl:.2g} | {text.same_top:.2%} | {text.same_top_sure:.2%} | "
        f"{text.perplexity_ratio:.4f} | {random.mean_kl:.2g} |"
    )


def report(lines: list[Line], args: argparse.Namespace) -> str:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    first = lines[0]
    return "\n".join(
        [
            f"{first.text.tokens:,} tokens of text, {first.text.sure:,} with a first choice that "
            f"leads by more than 0.1; {first.random.tokens:,} random ones. "
            f"Engine {args.engine}, commit {commit}.",
            "",
            "| weights | bits a weight | relative error | KL | worst KL | same first choice | "
            "same first choice where it leads | perplexity, ratio | KL, random ids |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(row, lines),
        ]
    )


def missed_targets(lines: list[Line]) -> list[str]:
    """Return what misses the targets."""
    worse = []
    for line in lines:
        for kind, found in (("text", line.text), ("random ids", line.random)):
            if line.name in TARGETS and found.mean_kl >= TARGETS[line.name]:
                worse.append(f"{line.name} on {kind}: KL {found.mean_kl:.2g}")
        if line.name == "q8" and (line.text.same_top_sure or 0) <= SAME:
            worse.append(f"q8: first choice the same {line.text.same_top_sure:.2%}")
    return worse


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", default="reference", help="compute engine")
    parser.add_argument("--samples", type=int, default=4, help="samples for each prompt")
    parser.add_argument("--tried", action="store_true", help="other rounding methods too")
    parser.add_argument("--write", action="store_true", help="put the table into the pages")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lines = list(measure(args, Path(folder)))
    text = report(lines, args)
    print(text)
    if args.write:
        write_pages(PAGE, MARK, chinese=translated(text, PHRASES), english=text)
    if worse := missed_targets(lines):
        raise SystemExit(f"worse than the targets: {'; '.join(worse)}")


if __name__ == "__main__":
    main()

"""The benchmark of votes: its statistical test, its table, its weights; nothing is timed."""

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import cpm_lm
from benchmarks import vote
from benchmarks.pages import block, twin
from benchmarks.peers.sampling import HuggingFace, Sampler
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.model import DEMO


class FakeSampler(Sampler):
    """A library that records what it was opened with."""

    def __init__(self, directory, ends, tokens, threads, path=None, form="float32"):
        self.directory, self.about = directory, f"fake, {form}"

    def __call__(self, prompt, n, seed):
        raise NotImplementedError


@pytest.fixture
def without_libraries(monkeypatch):
    monkeypatch.setattr(vote, "HuggingFace", FakeSampler)
    monkeypatch.setattr(vote, "CTranslate2", FakeSampler)


def found(**seconds: float) -> dict[str, Any]:
    times = {"ours": 0.5, "unmerged": 1.0, **seconds}
    peers = [who for who in times if who not in ("ours", "unmerged")]
    return {
        "prompt": "sums",
        "weights": "q8",
        "tokens": 60,
        "rows": (90, 900),
        "seconds": times,
        "spread": dict.fromkeys(times, "0.1–2.0"),
        "shows": 0.9,
        "p": dict.fromkeys(peers, 0.5),
    }


def test_the_p_value_tells_one_distribution_from_two():
    rng = np.random.default_rng(0)

    def draw(*shares: float) -> Counter[str]:
        return Counter(rng.choice(["a", "b", "c"], 900, p=shares).tolist())

    assert vote.two_samples(draw(0.5, 0.3, 0.2), draw(0.5, 0.3, 0.2)) > 0.01
    assert vote.two_samples(draw(0.5, 0.3, 0.2), draw(0.3, 0.5, 0.2)) < 1e-6


def test_the_p_value_is_that_of_the_chi_square_table():
    # 60:40 and 40:60 of two texts: chi-square 8 with one degree of freedom.
    p = vote.two_samples(Counter(a=60, b=40), Counter(a=40, b=60))
    assert p == pytest.approx(0.00468, rel=0.1)


def test_the_p_value_of_rare_texts_alone_is_one():
    a, b = (Counter(f"{side}{i}" for i in range(300)) for side in "ab")
    assert vote.two_samples(a, b) == 1.0


def test_a_library_that_was_not_run_leaves_its_cells_empty():
    whole = {"Hugging Face": 3.0, "CTranslate2": 2.0}
    head, _, *rows = vote.table([found(**whole), found(CTranslate2=2.0)], "english")
    assert len({line.count("|") for line in (head, *rows)}) == 1
    names = [cell.strip() for cell in head.split("|")]
    both, one = ([cell.strip() for cell in row.split("|")] for row in rows)
    assert both[names.index("x Hugging Face")] == "6.0"
    assert one[names.index("x CTranslate2")] == "4.0"
    for column in ("s, Hugging Face", "x Hugging Face", "p, Hugging Face"):
        assert one[names.index(column)] == ""


def test_floats_are_compared_with_both_libraries_and_q8_with_int8(without_libraries, tmp_path):
    args = vote.arguments(["--engine", "reference", "--threads", "1"])
    floats, packed = vote.open_groups(args, tmp_path)
    assert (floats.weights, list(floats.peers)) == ("f16", list(vote.PEERS))
    assert (packed.weights, list(packed.peers)) == ("q8", ["CTranslate2"])
    assert "int8" in packed.about
    # Each library quantizes the store's own weights, not those that another has quantized.
    peer = packed.peers["CTranslate2"]
    assert isinstance(peer, FakeSampler)
    assert peer.directory == DEMO


def test_a_store_that_no_library_can_read_is_refused(without_libraries, monkeypatch, tmp_path):
    monkeypatch.setattr(Store, "open", lambda _: SimpleNamespace(weights="q4"))
    with pytest.raises(SystemExit, match="q4"):
        vote.open_groups(vote.arguments([]), tmp_path)


def test_hugging_face_samples_have_no_end_tokens():
    model = cpm_lm.load(DEMO, engine="reference")
    ends = vote.ends(model)
    assert model.tokenizer.end_ids < ends
    peer = HuggingFace(DEMO, ends, tokens=3, threads=1)
    drawn = peer(model.prompt_ids(vote.PROMPTS["sums"]), 20, 0)
    assert len(drawn) == 20
    assert all(len(text) <= 3 and not ends & set(text) for text in drawn)
    kept = model.prompt_ids("静")[-1]
    assert peer.ended([kept, peer.ends[0], kept]) == (kept,)


def test_both_pages_have_the_table_that_the_benchmark_writes():
    for page, language in ((vote.PAGE, "chinese"), (twin(vote.PAGE), "english")):
        # Only the heads: no figures are measured here.
        assert "\n".join(vote.table([], language)) in block(page, "make bench-vote")

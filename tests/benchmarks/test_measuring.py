"""The arithmetic of the benchmarks, on numbers that can be checked by hand; nothing is timed."""

import numpy as np
import pytest

from benchmarks import measuring
from benchmarks.measuring import About, Measurement
from cpm_lm.config import GPTConfig

TINY = GPTConfig(vocab_size=10, n_positions=8, n_embd=4, n_layer=2, n_head=2)


def about(bits: int, size: int = 100) -> About:
    return About(version="1", build="b", bytes_per_token=size, bits=bits)


def measurement(
    name: str, decode: float, prefill: float | None = None, bandwidth: float = 1000
) -> Measurement:
    seconds = {"decode": decode} | ({} if prefill is None else {"prefill": prefill})
    return Measurement(implementation=name, seconds=seconds, bandwidth=bandwidth, peak=1e6)


def test_a_token_of_cpm_reads_all_weights_but_the_positions():
    cpm = GPTConfig(vocab_size=30000, n_positions=1024, n_embd=2560, n_layer=32, n_head=32)
    assert measuring.weights_read(cpm) == 2_597_073_920 - 1024 * 2560


def test_operations_are_two_for_each_weight_of_a_product():
    blocks, output = 12 * 16 * 2, 10 * 4
    assert measuring.flops(TINY, tokens=1, logits=1) == 2 * (blocks + output)
    assert measuring.flops(TINY, tokens=128, logits=1) == 2 * (128 * blocks + output)


def test_difference_is_in_deviations_of_the_expected():
    expected = np.array([0.0, 2.0])  # deviation 1
    assert measuring.difference(expected + 0.5, expected) == pytest.approx(0.5)
    assert measuring.difference(10 * expected, 10 * expected) == 0


def test_the_limit_is_that_of_the_bits_unless_a_tolerance_is_given():
    assert about(16).limit == measuring.LIMITS[16]
    loose = About(version="1", build="b", bytes_per_token=1, bits=32, tolerance=0.5)
    assert loose.limit == 0.5


def test_difference_of_logits_that_are_not_numbers_is_never_within_a_limit():
    found = measuring.difference(np.array([np.nan, 1.0]), np.array([0.0, 1.0]))
    assert not found <= max(measuring.LIMITS.values())


def test_middle_is_the_median_with_quartiles_within_what_was_measured():
    measurements = [measurement("a", s) for s in (5.0, 1.0, 3.0)]
    assert measuring.median_and_quartiles(measurements, "a", "decode") == (3.0, 2.0, 4.0)
    assert measuring.median_and_quartiles(measurements[:1], "a", "decode") == (5.0, 5.0, 5.0)


def test_a_share_is_of_the_bandwidth_of_the_same_round():
    measurements = [measurement("a", 0.2, bandwidth=1000), measurement("a", 0.4, bandwidth=500)]
    read, peak = measuring.shares(measurements, {"a": about(8, 100)}, TINY)["a"]
    assert read == pytest.approx(0.5)
    assert peak is None


def test_the_prefill_share_counts_the_operations_of_128_tokens():
    work = measuring.flops(TINY, 128, 1)
    share = measuring.shares([measurement("a", 1, prefill=work / 5e5)], {"a": about(32)}, TINY)[
        "a"
    ][1]
    assert share == pytest.approx(0.5)


def test_one_share_above_the_bandwidth_voids_all_shares():
    known = {"ours:q8": about(8), "llama.cpp:Q8_0": about(8)}
    measurements = [measurement("ours:q8", 0.2), measurement("llama.cpp:Q8_0", 0.05)]
    reading, computing = measuring.voids(measuring.shares(measurements, known, TINY), known)
    assert "llama.cpp:Q8_0" in reading
    assert not computing
    lines = measuring.table(measurements, known, TINY, "llama", (), {})
    assert all("| void |" in line for line in lines[2:])


def test_only_float32_above_the_float32_peak_voids_the_shares():
    known = {"int8": about(8), "float32": about(32)}
    assert measuring.voids({"int8": (0.5, 1.5), "float32": (0.5, 0.9)}, known) == ("", "")
    assert "float32" in measuring.voids({"int8": (0.5, 0.5), "float32": (0.5, 1.1)}, known)[1]


def test_the_ratio_is_to_the_fastest_peer_of_the_same_bits():
    known = {
        name: about(bits)
        for name, bits in {
            "ours:q8": 8, "llama.cpp:Q8_0": 8, "llama-bench:Q8_0": 8, "llama.cpp:F32": 32,
        }.items()
    }  # fmt: skip
    measurements = [
        measurement("ours:q8", 0.2),
        measurement("llama.cpp:Q8_0", 0.5),
        measurement("llama-bench:Q8_0", 0.3),
        measurement("llama.cpp:F32", 0.1),
    ]
    lines = measuring.table(measurements, known, TINY, "llama", (), {})
    ours = next(line for line in lines if line.startswith("| ours"))
    assert ours.split("|")[5].strip() == "1.50"
    assert lines[2].startswith("| llama.cpp:F32 | 32")  # most bits first


def test_an_implementation_with_other_outputs_has_a_reason_and_no_figures():
    failed = {"peer:f16": "logits differ by 3"}
    lines = measuring.table([measurement("a", 0.2)], {"a": about(8)}, TINY, "llama", (), failed)
    assert lines[-1] == "| peer:f16 | FAILED: logits differ by 3 |"


def test_a_table_has_the_same_number_of_cells_in_every_row():
    seconds = {"decode": 0.2, "prefill": 1.0, "rows 32": 0.5}
    measurements = [
        Measurement(implementation="a", seconds=seconds, bandwidth=1000, peak=1e6),
        measurement("b", 0.2),
    ]
    lines = measuring.table(
        measurements, {"a": about(8), "b": about(4)}, TINY, "llama", ("rows 32",), {}
    )
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].split("|")[-2].strip() == "64"  # rows a second

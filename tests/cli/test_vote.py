from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpm_lm.cli import cpm
from cpm_lm.cli.bars import chart, columns, shortened
from cpm_lm.cli.plotting import font_for
from cpm_lm.cli.vote import LiveTally
from cpm_lm.cli.wrapping import wrapped
from cpm_lm.errors import RequestError
from cpm_lm.generation.tally import AnswerShare
from cpm_lm.installation import pip_install
from cpm_lm.model import Model
from cpm_lm.tokenizer import Tokenizer
from tests.support.running import Run, parsed

PROMPT = "今天的天空很"


@pytest.fixture
def stops(store: Path) -> list[str]:
    """Frequent stop strings: a random model rarely generates a line end."""
    tokenizer = Tokenizer.load(store)
    pieces = {tokenizer.piece(i) for i in range(tokenizer.vocab_size)}
    ends = sorted(piece for piece in pieces if len(piece) == 1 and piece > "\u4e00")[:30]
    return [word for end in ends for word in ("--stop", end)]


def test_vote_json_has_all_fields(run: Run, store: Path) -> None:
    words = ["vote", PROMPT, "-m", store, "-n", 40, "--max-tokens", 6, "--seed", 7, "--json"]
    found = parsed(run(*words))
    again = parsed(run(*words))
    assert found.pop("seconds") > 0 < again.pop("seconds")
    assert found == again
    assert (found["seed"], found["method"], found["drawn"]) == (7, "sample", 40)
    assert found["engine"] == "native"  # there is no GPU
    assert 0 < found["rows"] < found["rows_unmerged"]
    shares = sum(row["share"] for row in found["tally"])
    assert shares + found["no_answer"] + found["cut_off"] == pytest.approx(1)
    assert found["winner"] == (found["tally"][0]["answer"] if found["tally"] else None)


def test_vote_prints_bars_and_a_summary(run: Run, store: Path, stops: list[str]) -> None:
    words = ["vote", PROMPT, "-m", store, "-n", 80, "--max-tokens", 8, "--seed", 1, *stops]
    found = parsed(run(*words, "--json"))
    assert len(found["tally"]) > 2
    printed = run(*words, "-k", 2)
    lines = printed.stdout.splitlines()
    assert lines[0].split() == ["answer", "votes", "share", "interval"]
    assert f"{found['tally'][0]['count']}  " in lines[1]
    assert lines[1].count("█") == 30
    assert lines[3].startswith(f"{len(found['tally']) - 2} more answers: ")
    assert lines[4] == f"cut off: {found['cut_off']:.1%}"
    assert "seed 1, 80 texts" in printed.stderr
    assert "\x1b" not in printed.stderr  # no live tally without a terminal


def test_an_exact_vote_prints_bounds(run: Run, store: Path) -> None:
    words = ["vote", PROMPT, "-m", store, "--method", "exact", "--max-tokens", 1, "--temperature"]
    printed = run(*words, 0.1, "--stop", "天")
    assert "bounds" in printed.stderr
    found = parsed(run(*words, 0.1, "--stop", "天", "--budget", 40, "--json"))
    assert (found["seed"], found["rows_unmerged"]) == (None, None)
    assert found["rows"] <= 40


def test_aliases_come_from_a_file(run: Run, store: Path, stops: list[str], tmp_path: Path) -> None:
    words = ["vote", PROMPT, "-m", store, "-n", 30, "--max-tokens", 9, "--seed", 1, "--answer", "."]
    words += stops
    found = parsed(run(*words, "--json"))
    answers = [row["answer"] for row in found["tally"]]
    assert len(answers) > 1
    file = tmp_path / "aliases.tsv"
    file.write_text("\t".join(["同", *answers]), encoding="utf-8")
    one = parsed(run(*words, "--aliases", file, "--json"))
    assert [row["answer"] for row in one["tally"]] == ["同"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-n", "0"], "n is 0"),
        (["--stop", ""], "stop string"),
        (["--answer", "("], "does not compile"),
        (["--answer", "(a*)*b"], "could take very long"),
        (["--match", "last"], "match needs an answer to find"),
        (["--budget", "5"], "budget needs method 'exact'"),
        (["--confidence", "2"], "confidence is 2"),
        (["--memory", "1"], "memory is 1 bytes"),
        (["--plot", "x.pdf"], "unsupported format x.pdf; use .png or .svg"),
    ],
)
def test_bad_requests_are_one_line_errors(
    run: Run, store: Path, words: list[str], said: str
) -> None:
    result = run("vote", PROMPT, "-m", store, *words, code=1)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_last_match_may_be_the_answer(run: Run, store: Path) -> None:
    words = ["vote", PROMPT, "-m", store, "-n", 40, "--max-tokens", 9, "--seed", 1, "--answer", "."]
    words += ["--stop", "天", "--stop", "的"]
    first, last = (parsed(run(*words, "--match", which, "--json")) for which in ("first", "last"))
    assert {row["answer"] for row in first["tally"]} != {row["answer"] for row in last["tally"]}
    assert last["cut_off"] > first["cut_off"]  # the last is known only where a text ends
    assert first == parsed(run(*words, "--json")) | {"seconds": first["seconds"]}


@pytest.mark.parametrize("name", ["tally.png", "tally.svg"])
def test_a_plot_is_written(
    run: Run, store: Path, stops: list[str], tmp_path: Path, name: str
) -> None:
    # All samples have the same empty answer, so that no Chinese font is needed.
    words = ["vote", "?", "-m", store, "-n", 20, "--max-tokens", 4, "--answer", "^()"]
    aliases = tmp_path / "aliases.tsv"
    aliases.write_text("any\t.\n", encoding="utf-8")
    words += ["--aliases", aliases]
    run(*words, *stops, "--seed", 3, "--plot", tmp_path / name)
    head = (tmp_path / name).read_bytes()[:200]
    assert (
        head.startswith(b"\x89PNG") if name.endswith("png") else b"<svg" in head or b"xml" in head
    )


def test_a_font_is_used_only_if_it_has_every_character() -> None:
    assert font_for("answer 5 …") == "DejaVu Sans"
    with pytest.raises(RequestError, match=r"'\\U0010fffd' among them; install a Chinese font"):
        font_for("a\U0010fffd")


def test_fonts_are_looked_for_before_the_vote(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Once the error came after all texts were drawn.
    def find(characters: set[int]) -> str | None:
        return "DejaVu Sans" if max(characters, default=0) < 0x2E80 else None

    def vote(self: Model, *words: object, **options: object) -> None:
        raise AssertionError("the vote has begun")

    monkeypatch.setattr("cpm_lm.cli.plotting._find_font", find)
    monkeypatch.setattr(Model, "vote", vote)
    picture = tmp_path / "tally.png"
    result = run("vote", "中国的首都是", "--plot", picture, code=1)
    assert "install a Chinese font" in result.stderr
    with pytest.raises(AssertionError, match="has begun"):
        CliRunner().invoke(cpm, ["vote", "1+1=", "--plot", str(picture)], catch_exceptions=False)


def test_an_exact_vote_shows_bounds_that_say_something(run: Run) -> None:
    # Its table was full of 0.0% – 0.0%.
    words = ["vote", "1+1=2\n1+2=3\n1+3=4\n1+4=", "--method", "exact"]
    printed = run(*words).stdout
    lines = printed.splitlines()
    assert lines[0].split() == ["answer", "probability"]
    assert lines[1].split()[:4] == ["5", "99.2%", "–", "99.4%"]
    assert "0.0%" not in printed.replace("100.0%", "")
    hidden = next(line for line in lines if "more answers" in line)
    assert hidden.endswith("more answers: < 0.1%")
    certain = run("vote", "1+1=", "--method", "exact", "--answer", "()", "--stop", "1").stdout
    assert "100.0% –" not in certain


def test_no_line_of_a_table_is_wider_than_the_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for columns_ in (40, 80, 120):
        monkeypatch.setattr("cpm_lm.cli.vote.terminal_width", lambda columns_=columns_: columns_)
        lines = run("vote", "床前明月光，", "-n", 9, "--seed", 1, "--max-tokens", 40).stdout
        longest = max(map(columns, lines.splitlines()))
        assert longest < max(columns_, 68)  # with 8 columns of an answer and all figures
        assert ("█" in lines) == (columns_ >= 80)


def test_a_missing_extra_is_a_one_line_error(
    run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run("vote", PROMPT, "-m", store, "--plot", "x.png", code=1)
    assert pip_install("plot") in result.stderr
    assert result.stderr.count("\n") == 1


def test_bars_are_aligned() -> None:
    rows = [(("北京", "50%"), 0.5), (("a", "5%"), 0.25)]
    assert chart(rows) == ["北京  50%  " + "█" * 30, "a      5%  " + "█" * 15]
    assert chart(rows, ["答", "p"])[0] == "答      p"
    assert max(map(columns, chart(rows, width=20))) == 19  # the last column stays free
    assert chart(rows, width=14) == ["北京  50%", "a      5%"]
    assert columns("北京a") == 5
    assert columns("e\u0301\u200d") == 1
    assert shortened("北京上海", 5) == "北京…"
    assert shortened("北京", 4) == "北京"
    assert chart([], ["答案", "票数"]) == []
    assert max(map(columns, wrapped("the prompt 今天的天空好 ends " * 9, 11))) <= 11


def test_the_live_tally_overwrites_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    live = LiveTally()
    tally = [
        AnswerShare(answer="五", count=2, share=0.5),
        AnswerShare(answer="6", count=1, share=0.25),
    ]
    live.show(tally, 0.75)
    live.show(tally, 1.0)  # within the minimum interval
    live.clear()
    live.clear()
    shown = capsys.readouterr().err
    assert shown.startswith("75%\n五")
    assert "100%" not in shown
    assert shown.endswith("\x1b[3F\x1b[J")
    assert shown.count("\x1b[3F") == 1

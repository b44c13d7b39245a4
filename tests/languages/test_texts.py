"""Every text that a person reads has a Chinese twin, with the same fields.

Messages used to be f-strings, which cannot be looked up: whoever writes one again, or forgets the
twin, is told here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter

import click
import pytest
from click.testing import CliRunner

import cpm_lm
from cpm_lm import errors
from cpm_lm.cli import VERBS, cpm
from cpm_lm.cli.wrapping import joined

PACKAGE = Path(cpm_lm.__file__).parent
PARTS: dict[str, dict[str, str]] = json.loads((PACKAGE / "languages/zh.json").read_text("utf-8"))
CHINESE = {english: chinese for part in PARTS.values() for english, chinese in part.items()}
SYSTEM = PARTS["system"] | PARTS["click"]
"""What the operating system and click say, of which the code holds no copy."""
TAKES_TEXT = {"tr", "later", "error"} | set(errors.__all__)
"""`error` is a class of error that a function was given."""
HAN = re.compile("[\u4e00-\u9fff]")


def calls() -> Iterator[tuple[str, ast.expr]]:
    """Yield where each text is given, and the expression that gives it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                if name in TAKES_TEXT and ast.unparse(node.func) != "re.error":
                    yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.args[0]


def fields(text: str) -> set[tuple[str, str, str]]:
    return {
        (name, spec or "", conversion or "")
        for _, name, spec, conversion in Formatter().parse(text)
        if name is not None
    }


def has_words(text: str) -> bool:
    try:
        words = "".join(part for part, *_ in Formatter().parse(text))
    except ValueError:  # a text without fields may hold a single brace
        words = text
    return re.search("[A-Za-z]", words) is not None


TEXTS = {
    node.value: place
    for place, node in calls()
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}


def help_texts() -> Iterator[tuple[str, str]]:
    """Yield every verb, and each paragraph of its page that is no example, and its options'."""
    context = click.Context(cpm)
    commands: dict[str, click.Command] = {"cpm": cpm}
    commands |= {verb: command for verb in VERBS if (command := cpm.get_command(context, verb))}
    for name, command in list(commands.items()):
        if isinstance(command, click.Group) and command is not cpm:
            commands |= {f"{name} {verb}": each for verb, each in command.commands.items()}
    for name, command in commands.items():
        texts = [command.short_help or ""] if command is not cpm else []
        texts += [getattr(param, "help", None) or "" for param in command.params]
        for paragraph in re.split(r"\n\s*\n", command.help or ""):
            if "\b" not in paragraph:
                texts.append(joined(paragraph.strip().splitlines()))
        yield from ((name, text) for text in texts if text)


HELP = dict.fromkeys(text for _, text in help_texts())


def test_help_is_in_both_languages() -> None:
    assert [pair for pair in help_texts() if pair[1] not in CHINESE] == []
    assert [text for text in HELP if HAN.search(text)] == []


@pytest.mark.parametrize("verb", [[], *([verb] for verb in VERBS)])
def test_a_help_page_has_no_english_sentence(verb: list[str]) -> None:
    # Options of click's own class were not looked up.
    runner = CliRunner(env={"CPM_LANG": "zh", "COLUMNS": "120"})
    shown = runner.invoke(cpm, [*verb, "--help"]).stdout
    told = [text for _, text in help_texts() if len(text.split()) > 2 and text in shown]
    assert told == []


def test_no_text_is_put_together_before_it_is_looked_up() -> None:
    made = [place for place, node in calls() if isinstance(node, ast.JoinedStr | ast.BinOp)]
    assert made == []


def test_no_text_is_missing_in_chinese() -> None:
    missing = {
        text: place for text, place in TEXTS.items() if text not in CHINESE and has_words(text)
    }
    assert missing == {}


def test_no_chinese_text_is_left_over() -> None:
    assert sorted(CHINESE.keys() - TEXTS.keys() - SYSTEM.keys() - HELP.keys()) == []


def test_a_text_is_in_one_part() -> None:
    assert len(CHINESE) == sum(map(len, PARTS.values()))


def test_both_have_the_same_fields() -> None:
    different = [text for text in CHINESE if fields(CHINESE[text]) != fields(text)]
    assert different == []


def test_chinese_is_chinese() -> None:
    for english, chinese in CHINESE.items():
        words = re.sub(r"\{[^}]*\}", "", english)
        assert HAN.search(chinese) or not re.search("[a-z]{3,} [a-z]{3,}", words), chinese
        # Punctuation after a Chinese character is full-width, as in print.
        assert not re.search("[\u4e00-\u9fff][,;:!?]", chinese), chinese
        # Words that this project does not use: 抽 is to draw a sample, 画 to paint.
        assert not re.search("画[一几]|令牌|标记符", chinese), chinese

"""Prompts of examples: questions and answers in a template, and escapes in what is typed.

Knows text; does not know click or files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click

from cpm_lm.languages import tr

__all__ = ["TEMPLATE", "few_shot", "read_shot", "unescaped"]

TEMPLATE = r"问：{q}\n答：{a}\n"
"""As most Chinese models have read questions, and the model in the package."""
ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}


def unescaped(text: str) -> str:
    r"""Return a text with `\n`, `\t` and `\\` replaced; another backslash stays as it is.

    >>> unescaped(r"1+1=2\n1+2=")
    '1+1=2\n1+2='
    >>> unescaped(r"\\n \d")
    '\\n \\d'
    """
    return re.sub(r"\\([nt\\])", lambda found: ESCAPES[found[1]], text)


def read_shot(shot: str, *, escapes: bool = False) -> tuple[str, str]:
    r"""Return the question and the answer of an example, `Q=A`.

    >>> read_shot("猫=cat"), read_shot(r"1+1\=2, 2+2\==4")
    (('猫', 'cat'), ('1+1=2, 2+2=', '4'))
    >>> read_shot(r"a\\=\n", escapes=True)
    ('a\\', '\n')

    Args:
        shot: the example; a `=` within the question is written `\=`.
        escapes: whether `\n`, `\t` and `\\` are read as well.

    Raises:
        click.UsageError: no `=` parts them.
    """
    unit = r"\\[\\nt=]|[^=]" if escapes else r"\\=|[^=]"
    parts = re.fullmatch(rf"((?:{unit})*?)(?:(=)(.*))?", shot, re.DOTALL)
    assert parts, "anything matches"
    question, equals, answer = parts.groups(default="")
    if not equals:
        raise click.UsageError(
            tr(
                "--shot {shot!r} has no = between question and answer; write it as Q=A, "
                "such as 猫=cat, and a = within the question as \\=",
                shot=shot,
            )
        )
    if not escapes:
        return question.replace(r"\=", "="), answer
    question = re.sub(r"\\([nt\\=])", lambda found: ESCAPES.get(found[1], "="), question)
    return question, unescaped(answer)


def few_shot(shots: Sequence[tuple[str, str]], question: str, template: str) -> str:
    r"""Return a prompt of examples, which ends where the answer to the question begins.

    Blanks between the template's last words and the answer are left out at the end: they belong to
    the answer, as the tokens of most vocabularies do.

    >>> few_shot([("猫", "cat")], "狗", r"{q}的英文是 {a}\n")
    '猫的英文是 cat\n狗的英文是'

    Args:
        shots: questions and answers.
        question: the question that is left open.
        template: with {q} and {a} in this order; escapes are read.

    Raises:
        click.UsageError: the template does not have them.
    """
    form = unescaped(template)
    head, found, _ = form.partition("{a}")
    if not found or "{q}" not in head:
        raise click.UsageError(
            tr("--template {template!r} has no {{q}} before an {{a}}", template=template)
        )
    examples = (
        re.sub(r"\{([qa])\}", lambda mark: pair["qa".index(mark[1])], form)  # noqa: B023
        for pair in shots
    )
    return "".join(examples) + head.replace("{q}", question).rstrip(" \t\u3000")

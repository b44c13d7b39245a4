"""The public names, and that importing the package loads no framework."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import cpm_lm
from cpm_lm import choices as kinds
from cpm_lm.checkpoints.options import ConvertOptions
from cpm_lm.choices import choices
from cpm_lm.engines.options import EngineOptions
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.model import Model

ROOT = Path(__file__).parent.parent

NAMES = """
CapacityError CheckpointError ConfigError CpmError DEMO Draws Engine EngineError GPTConfig LogProbs
Logits Manifest Model NextCharacter NextToken Perplexity RequestError Result Sample Score Session
Tokenizer TokenizerError Verification Vote chain convert evaluate export keras_model load
open_engine preset pull verify
""".split()


def test_the_public_names_are_these() -> None:
    assert sorted(cpm_lm.__all__) == NAMES
    assert all(hasattr(cpm_lm, name) for name in NAMES)
    assert sorted(NAMES) == NAMES


def test_every_error_is_a_cpm_error() -> None:
    from cpm_lm import errors

    for name in errors.__all__:
        assert issubclass(getattr(errors, name), cpm_lm.CpmError)
        assert name in str(errors.__doc__)


def test_importing_loads_no_framework() -> None:
    code = (
        "import sys, cpm_lm; "
        "heavy = {'tensorflow', 'jax', 'keras', 'torch', 'jieba', 'click'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_sample_loads_only_what_it_needs() -> None:
    """Each of these took a tenth of a run of `cpm sample`, and a sample does not need it."""
    cpm_lm.load(engine="reference").sample("今天", max_tokens=1)  # prepares the table of words
    code = (
        "import sys, cpm_lm.cli.sample, cpm_lm; "
        "cpm_lm.load(engine='reference').sample('今天', max_tokens=1); "
        "slow = {'jieba', 'jaxtyping', 'importlib.metadata', 'numpy.ma', 'cpm_lm.hub.pull', "
        "'cpm_lm.checkpoints.source', 'cpm_lm.checkpoints.quantization.gptq'}; "
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_imported_from_where_a_type_checker_sees_it() -> None:
    tree = ast.parse(Path(cpm_lm.__file__).read_text("utf-8"))
    (guard,) = (
        n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    )
    seen = {
        node.module: {alias.name for alias in node.names}
        for node in guard.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("cpm_lm.")
    }
    assert seen == {module: set(names) for module, names in cpm_lm._MODULES.items()}
    assert sorted(name for names in seen.values() for name in names) == NAMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    for name in ("laod", "__wrong__", "_Engine"):
        with pytest.raises(AttributeError, match=f"module 'cpm_lm' has no attribute '{name}'"):
            getattr(cpm_lm, name)
    with pytest.raises(ImportError, match="cannot import name 'laod'"):
        exec("from cpm_lm import laod")
    assert set(NAMES) < set(dir(cpm_lm))


def test_submodules_are_there_without_an_import_of_their_own() -> None:
    code = "import cpm_lm; print(cpm_lm.errors.CpmError, cpm_lm.tokenizer.Tokenizer)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert cpm_lm.__version__ in (project["version"], "unknown")  # unknown: only source files
    assert "importlib.metadata" in sys.modules


def test_each_list_of_names_is_that_of_its_table() -> None:
    from cpm_lm.checkpoints.dtypes import WEIGHTS
    from cpm_lm.checkpoints.forms import FORMS
    from cpm_lm.engines.select import STARTERS
    from cpm_lm.tokenizer.text_style import STYLES

    assert tuple(FORMS) == choices(kinds.FormName)
    assert FORMS["store"].formats == choices(kinds.WeightFormat)
    assert tuple(WEIGHTS) == choices(kinds.FloatFormat)
    assert tuple(STYLES) == choices(kinds.TextStyleName)
    assert ("auto", *STARTERS) == choices(kinds.EngineName)


OPTIONS = [SamplingOptions, VotingOptions, EngineOptions, ConvertOptions]
CALLS: list[Any] = [
    Model.sample,
    Model.stream,
    Model.vote,
    cpm_lm.load,
    cpm_lm.open_engine,
    cpm_lm.convert,
]


def test_an_option_has_the_same_names_in_its_class_and_in_each_call() -> None:
    """A type checker sees the names, and none is a plain str."""
    fields: dict[str, Any] = {}
    for options in OPTIONS:
        fields |= {name: hint for name, hint in get_type_hints(options).items() if name != "order"}
    named = {name for name, hint in fields.items() if "Literal" in str(hint)}
    assert named == {
        *("filter_order", "overflow", "method", "match", "engine", "cache_dtype"),
        *("to", "weights", "layout", "text_style"),
    }
    for call in CALLS:
        hints = get_type_hints(inspect.unwrap(call))
        if "options" in hints:  # Unpack of a TypedDict
            hints |= get_type_hints(get_args(hints["options"])[0])
        assert named & hints.keys()
        for name in named & hints.keys():
            assert hints[name] == fields[name], (call, name)

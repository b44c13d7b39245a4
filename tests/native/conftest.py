"""The kernels under test, in every instruction set that this machine can run.

CPM_NATIVE is the path of another build of the module; `make sanitize` sets it.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cpm_lm._native import Pool


def use_build(path: str) -> None:
    """Let `from cpm_lm import _native` mean the module at `path`."""
    name = "cpm_lm._native"
    assert name not in sys.modules, "another build is already loaded"
    spec = spec_from_file_location(name, path, loader=ExtensionFileLoader(name, path))
    assert spec
    assert spec.loader
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


if "CPM_NATIVE" in os.environ:
    use_build(os.environ["CPM_NATIVE"])

native = pytest.importorskip("cpm_lm._native", reason="the package was installed without kernels")


@pytest.fixture(params=native.instruction_sets())
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this processor can run."""
    return request.param


@pytest.fixture
def pool(isa: str) -> Pool:
    """Two threads on that instruction set."""
    return native.Pool(2, isa)

"""The array types of signatures, `Float32[np.ndarray, "B T"]`: jaxtyping's, where they are checked.

Knows jaxtyping; does not know arrays. Shapes are checked only under the tests' import hook, which
imports jaxtyping before this module. In any other program the annotations are never evaluated, and
importing jaxtyping takes as long as importing numpy; then a type stands for its array type alone.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__all__ = [
    "Bool",
    "Float",
    "Float16",
    "Float32",
    "Float64",
    "Int",
    "Int8",
    "Int32",
    "Int64",
    "Shaped",
    "UInt32",
    "UInt64",
]

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import (
        Bool,
        Float,
        Float16,
        Float32,
        Float64,
        Int,
        Int8,
        Int32,
        Int64,
        Shaped,
        UInt32,
        UInt64,
    )
else:

    class _ArrayType:
        """An array type without its shape: `Float32[np.ndarray, "B T"]` is np.ndarray."""

        def __class_getitem__(cls, parameters: tuple[Any, str]) -> Any:
            return parameters[0]

    Bool = Float = Float16 = Float32 = Float64 = _ArrayType
    Int = Int8 = Int32 = Int64 = Shaped = UInt32 = UInt64 = _ArrayType

"""The options whose value is one of a few names: types for a type checker, tuples for the checks.

Knows the names; does not know what they mean, which the options say (`Rules`, `SamplingOptions`,
`VotingOptions`, `EngineOptions`, `ConvertOptions`). Each list of names is here only.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

__all__ = [
    "Boundary",
    "CacheDtype",
    "EngineName",
    "ExportFormat",
    "FilterOrder",
    "FloatFormat",
    "FormName",
    "Layout",
    "Match",
    "Method",
    "Overflow",
    "TextStyleName",
    "WeightFormat",
    "choices",
]

EngineName = Literal["auto", "native", "tensorflow", "jax", "reference"]
Boundary = Literal["apart", "joint"]
CacheDtype = Literal["f32", "f16"]
FilterOrder = Literal["standard", "cpm"]
Overflow = Literal["stop", "slide"]
Method = Literal["sample", "stratified", "exact"]
Match = Literal["first", "last"]
FormName = Literal["store", "huggingface", "megatron"]
FloatFormat = Literal["f32", "f16", "bf16"]
WeightFormat = Literal["f32", "f16", "bf16", "q8", "q4"]
ExportFormat = Literal["keras", "saved-model"]
Layout = Literal["deepspeed", "megatron"]
TextStyleName = Literal["uer", "gpt2-chinese", "gpt2-chitchat", "bos-eos", "eos"]


def choices(kind: Any) -> tuple[str, ...]:
    """Return the names of one of these types, in their order.

    >>> choices(Overflow)
    ('stop', 'slide')
    """
    return get_args(kind)

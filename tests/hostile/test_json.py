"""JSON files of every kind, wrong in one place each, or made to cost much."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.harness import Case, Server, check
from tests.hostile.models import CONFIG, HEADER, VALUES, write_json, write_weights
from tests.support.tiny_bert import PIECES, write_pieces

Make = Callable[[Path, "str | bytes"], Path]
TEXTS: list[tuple[str, str | bytes, str]] = [
    ("empty", "", "not valid JSON"),
    ("cut", '{"a": [1, 2', "not valid JSON"),
    ("two values", "{} {}", "not valid JSON"),
    ("nested lists", "[" * 100_000, "nested too deep"),
    ("nested objects", '{"a":' * 100_000, "nested too deep"),
    (
        "a number of 5,000 digits",
        '{"a": {"b": [1, %s]}}' % ("9" * 5000),
        "['a']['b'][1] is an integ",
    ),
    ("NaN", '{"n_embd": NaN}', "['n_embd'] is NaN"),
    ("Infinity", '{"a": -Infinity}', "['a'] is -Infinity"),
    ("1e999", '{"a": 1e999}', "['a'] is a number out of range"),
    ("a name twice", '{"a": 1, "b": {"a": 1, "a": 1}}', "the name 'a' occurs twice"),
    ("not UTF-8", b'{"a": "\xff"}', "byte 0xff at 7"),
    ("UTF-16", '{"a": 1}'.encode("utf-16"), "not text in UTF-8"),
    ("half a character", '{"a": "\\ud800"}', "half a character"),
    ("control characters", '{"a": "\x1b"}', "not valid JSON"),
    ("NUL", b"\0" * 100, "not valid JSON"),
    ("a web page", "<!DOCTYPE html>", "a web page"),
    ("900 kB of lists", "[" + "[]," * 300_000 + "[]", "not valid JSON"),
]
"""What is no JSON: one table for all files, because one function reads them."""


def config(folder: Path, text: str | bytes) -> Path:
    return write_json(folder, "config.json", text)


def index(folder: Path, text: str | bytes) -> Path:
    write_json(folder, "model.safetensors.index.json", text)
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    return folder


def manifest(folder: Path, text: str | bytes) -> Path:
    return write_json(folder, "manifest.json", text)


def beside_pieces(name: str) -> Make:
    def make(folder: Path, text: str | bytes) -> Path:
        write_pieces(folder)
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return folder

    return make


def tokenizer_json(folder: Path, text: str | bytes) -> Path:
    (folder / "tokenizer.json").write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


FILES: dict[str, tuple[Make, str]] = {
    "config.json": (config, "inspect"),
    "model.safetensors.index.json": (index, "inspect"),
    "manifest.json": (manifest, "verify"),
    "tokenizer.json": (tokenizer_json, "tokenizer"),
    "tokenizer_config.json": (beside_pieces("tokenizer_config.json"), "tokenizer"),
    "special_tokens_map.json": (beside_pieces("special_tokens_map.json"), "tokenizer"),
    "added_tokens.json": (beside_pieces("added_tokens.json"), "tokenizer"),
    "text_style.json": (beside_pieces("text_style.json"), "tokenizer"),
    "config.json of pieces": (beside_pieces("config.json"), "tokenizer"),
}


def case(file: str, name: str, text: str | bytes, error: str | None) -> Case:
    make, read = FILES[file]
    return Case(
        name=f"{file}: {name}", make=lambda folder: make(folder, text), error=error, read=read
    )


WRONG: tuple[Any, ...] = (None, True, -1, 0, 1.5, 2**64, "x", [], [[]], {}, {"a": 1})


def fields(file: str, sound: dict[str, Any], key: str, *fits: Any, error: str = "") -> list[Case]:
    """A case for every value of another type; `fits` are values that are readable."""
    return [
        case(file, f"{key} {value!a}", json.dumps({**sound, key: value}), error)
        for value in WRONG
        if not any(type(value) is type(fit) and value == fit for fit in fits)
    ]


def of_config() -> list[Case]:
    cases = []
    for key in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
        cases += fields("config.json", CONFIG, key, error=key)
        cases += [
            case("config.json", f"{key} 10^9", json.dumps({**CONFIG, key: 10**9}), key),
            case("config.json", f"{key} at its limit", json.dumps({**CONFIG, key: 9_999}), ""),
        ]
    fit = (-1, 0, 1.5, 2**64, None)
    return [
        *cases,
        *fields("config.json", CONFIG, "layer_norm_epsilon", error="layer_norm_epsilon"),
        *fields("config.json", CONFIG, "activation_function", error="activation_function"),
        *fields("config.json", CONFIG, "model_type", error="model type"),
        *fields("config.json", CONFIG, "n_inner", None, error="n_inner"),
        *fields("config.json", CONFIG, "scale_attn_weights", True, error="scale_attn_weights"),
        *fields("config.json", CONFIG, "pruned_heads", {}, None, error="pruned_heads"),
        *fields("config.json", CONFIG, "quantization_config", None, error="quantization_config"),
        *fields("config.json", CONFIG, "hidden_size", error="hidden_size is"),
        *(
            case("config.json", f"eos_token_id {value!a}", json.dumps({**CONFIG, "eos_token_id": value}), None)
            for value in (*fit, "\x1b[2J", [1] * 10_000)
        ),
        case("config.json", "an unknown key", json.dumps({**CONFIG, "\x1b[2J": 1}), "unknown keys"),
        case("config.json", "30,000 unknown keys", json.dumps({**CONFIG, **{f"k{i}": 1 for i in range(30_000)}}), "and 29,990 more"),
        case("config.json", "a list", "[]", "expected a JSON object"),
        case("config.json", "byte order mark", "\ufeff" + json.dumps(CONFIG), None),
    ]  # fmt: skip


PLACES = dict.fromkeys(
    (name for name in json.loads(HEADER) if name != "__metadata__"), "part.safetensors"
)
MANIFEST = {"files": [{"name": "config.json", "bytes": 1, "sha256": "0" * 64}], "parameters": 1}


def of_others() -> list[Case]:
    file = "model.safetensors.index.json"
    places = [
        case(file, f"a place {place!a:.40}", json.dumps({"weight_map": {**PLACES, "wpe.weight": place}}), error)
        for place, error in (
            (None, "plain name"), (1, "plain name"), ("", "plain name"), ("..", "plain name"),
            ("../x", "plain name"), ("/etc/passwd", "plain name"), ("a\x1b[2J", "plain name"),
            ("C:x", "plain name"), ("x" * 5000, ""), ("absent.safetensors", "lacks absent"),
            ("model.safetensors.index.json", "truncated or not a safetensors file"),
            ("config.json", "truncated or not a safetensors file"),
        )
    ]  # fmt: skip
    many = {f"t{i}": f"f{i}" for i in range(25_000)}
    record = MANIFEST["files"][0]  # type: ignore[index]
    return [
        *places,
        *fields(file, {}, "weight_map", {"a": 1}, error="not an index"),
        case(file, "sound", json.dumps({"weight_map": PLACES, "metadata": {"a": [1.5]}}), None),
        case(file, "25,000 files", json.dumps({"weight_map": many}), "more"),
        case(file, "25,000 tensors", json.dumps({"weight_map": {**PLACES, **dict.fromkeys(many, "part.safetensors")}}), "problems"),
        *fields("manifest.json", MANIFEST, "files", error="damaged"),
        *(
            case("manifest.json", f"{key} {value!a:.30}", json.dumps({"files": [{**record, key: value}]}), "")
            for key in ("name", "bytes", "sha256") for value in (*WRONG, "\x1b[2J", "../x", "/dev/zero")
        ),
        case("manifest.json", "20,000 files", json.dumps({"files": [{**record, "name": f"f{i}"} for i in range(9_000)]}), ""),
    ]  # fmt: skip


VOCAB = {piece: i for i, piece in enumerate(dict.fromkeys(PIECES))}
SERIALIZED: dict[str, Any] = {
    "model": {"type": "WordPiece", "vocab": VOCAB, "unk_token": "[UNK]"},
    "normalizer": {"type": "BertNormalizer", "lowercase": True},
    "pre_tokenizer": {"type": "BertPreTokenizer"},
}


def of_tokenizers() -> list[Case]:
    file, cases = "tokenizer.json", []
    cases.append(case(file, "sound", json.dumps(SERIALIZED), None))
    for key in SERIALIZED:
        cases += fields(file, SERIALIZED, key, error="")
    for value in WRONG:
        if value != {}:
            model = {**SERIALIZED["model"], "vocab": value}
            cases.append(
                case(file, f"vocab {value!a}", json.dumps({**SERIALIZED, "model": model}), "")
            )
        added = [] if value == [] else value
        if value != []:
            cases.append(
                case(
                    file,
                    f"added_tokens {value!a}",
                    json.dumps({**SERIALIZED, "added_tokens": added}),
                    "added tokens",
                )
            )
        model = {**SERIALIZED["model"], "vocab": {**VOCAB, "[UNK]": value}}
        if value is not True and value != VOCAB["[UNK]"]:
            cases.append(
                case(file, f"an id {value!a}", json.dumps({**SERIALIZED, "model": model}), "")
            )
    settings = "tokenizer_config.json"
    cases += fields(settings, {}, "tokenizer_class", None, "x", error="tokenizer_config.json says")
    cases += fields(settings, {}, "do_lower_case", True, error="do_lower_case")
    cases += fields(settings, {}, "strip_accents", True, None, error="strip_accents")
    cases += fields(settings, {}, "added_tokens_decoder", {}, error="added tokens")
    cases += fields(settings, {}, "unk_token", None, "x", {}, {"a": 1}, 0, [], error="unk_token")
    cases += fields(
        settings, {}, "extra_special_tokens", *WRONG[:1], 0, [], [[]], {}, {"a": 1}, error="no list"
    )
    cases += fields("text_style.json", {}, "text_style", error="text_style")
    long = {f"t{i}": len(PIECES) + i for i in range(30_000)}
    return [
        *cases,
        case("added_tokens.json", "ids", json.dumps({"a": "x"}), "added token"),
        case("added_tokens.json", "id 2^64", json.dumps({"a": 2**64}), "added token"),
        case("added_tokens.json", "id of a piece", json.dumps({"<s>": 3}), "added token"),
        case("added_tokens.json", "a gap", json.dumps({"<s>": 10**6}), "added tokens have the ids"),
        case("added_tokens.json", "empty content", json.dumps({"": len(PIECES)}), "added token"),
        case("added_tokens.json", "a list", "[]", "expected a JSON object"),
        case("added_tokens.json", "30,000 tokens", json.dumps(long), None),
        case("special_tokens_map.json", "a list", "[]", "expected a JSON object"),
        case("special_tokens_map.json", "control characters", '{"unk_token": "\\u001b[2J"}', "no piece"),
        case("config.json of pieces", "vocab_size a list", '{"vocab_size": []}', None),
    ]  # fmt: skip


BROKEN = [case(file, name, text, error) for file in FILES for name, text, error in TEXTS]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_what_is_no_json(case: Case, server: Server, tmp_path: Path) -> None:
    check(server, case, tmp_path)


@pytest.mark.parametrize(
    "case", [*of_config(), *of_others(), *of_tokenizers()], ids=lambda case: case.name
)
def test_fields(case: Case, server: Server, tmp_path: Path) -> None:
    check(server, case, tmp_path)


def test_the_sound_model_is_readable(server: Server, tmp_path: Path) -> None:
    """The tables damage one thing each; without damage nothing is wrong."""
    write_weights(tmp_path, HEADER, VALUES)
    assert server.read(tmp_path).kind == "readable"

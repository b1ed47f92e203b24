"""Requests that say anything at all: edges of every parameter, alone and together, from a seed."""

import json
import random
from collections.abc import Iterator
from typing import Any

SMALL = [5e-324, 1e-320, 1e-40, 1e-9, 9e-6, 1e-5]
WHOLE = [
    -(2**63) - 1,
    -(2**63),
    -(2**31),
    -2,
    -1,
    0,
    1,
    2,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
]
WRONG = [True, "1", "", "a" * 1000, [], [1], {}, {"a": 1}, [[]], "\u0000", "\U0001f600"]
NUMBERS = [*SMALL, -1.5, 0.5, 1, 2, 2.1, 1e38, 1e300, *WHOLE]
STRING = {"type": "string"}


def _schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _chain(depth: int) -> dict[str, Any]:
    return STRING if not depth else {"type": "array", "items": _chain(depth - 1)}


# Those that no grammar can be made of, that allow no token, or that cost more than they look.
SCHEMAS: list[Any] = [
    {"$ref": "#"},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"properties": {"a": {"$ref": "#/$defs/a"}}, "required": ["a"], "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}]}}},
    {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
    {"$ref": "#/nowhere"}, {"$ref": "https://example.org"}, {"$ref": 3}, {"$ref": "#/$defs/%ff~2"},
    {"type": "?"}, {"type": 7}, {"type": ["string", 3]}, {"enum": []}, {"enum": 5}, {"properties": None}, {"required": "a"},
    {"type": "array", "items": [{"type": "integer"}]}, {"type": "array", "items": 3}, {"type": "array", "minItems": 3, "maxItems": 1},
    {"type": "array", "items": {"type": "integer"}, "minItems": 10**9}, {"type": "array", "minItems": -1},
    {"type": "string", "pattern": "("}, {"type": "string", "pattern": "(a)\\1"}, {"type": "string", "pattern": "\\p{L}"},
    {"type": "string", "pattern": "^[\u0000-\uffff]{0,1000}$"}, {"type": "string", "pattern": "(" * 400 + "a" + ")" * 100},
    {"type": "string", "pattern": r"(.)+([\w-]((x)+|(((.)*|(x)*)){5,100})){3,}\d"},
    {"type": "string", "pattern": r"(\d{2}\d{0,16}[\w-]{2}|.*\s{0,16}){0,16}x?b+.[^a]([^a]{16}\sa[^a]?|[a-z]a?|.{16,}ba){16}"},
    {"type": "string", "minLength": -5}, {"type": "string", "minLength": 1.5}, {"type": "string", "minLength": 9, "maxLength": 1},
    {"type": "integer", "minimum": 2**63}, {"type": "integer", "maximum": 10**400}, {"type": "number", "multipleOf": 0},
    {"allOf": [{"anyOf": [{"type": "string", "pattern": f"a*{n}"}, {"type": "integer"}]} for n in range(40)]},
    {"type": "object", "properties": {f"p{n}": STRING for n in range(200)}, "minProperties": 100, "maxProperties": 101},
    {"type": "object", "properties": {f"p{n}": STRING for n in range(3000)}}, {"type": "object", "minProperties": 10**9},
    _chain(60), _chain(150), {"enum": [f"value {n}" for n in range(5000)]}, {"const": {"a": [None]}}, {"not": {}}, {},
    True, False, None, 3, "{}", [],
]  # fmt: skip

EDGES: dict[str, list[Any]] = {
    "temperature": NUMBERS,
    "top_p": NUMBERS,
    "top_k": [*NUMBERS, 512, 513, 100_000],
    "min_p": NUMBERS,
    "repetition_penalty": [*NUMBERS, 0.01, 100, 101],
    "presence_penalty": NUMBERS,
    "frequency_penalty": NUMBERS,
    "seed": WHOLE,
    "max_tokens": WHOLE,
    "min_tokens": WHOLE,
    "stop_token_ids": [[value] for value in WHOLE] + [list(range(300)), [1] * 100_000],
    "stop": ["", [""], "a", ["a"] * 100, "b" * 10_000, ["\u0000"], ["\U0001f600"]],
    "logit_bias": [{str(value): 100} for value in WHOLE] + [{"a": 1}, {"1": 1e300}, {"1": -1e300}, {str(n): -100 for n in range(3000)}],
    "logprobs": [True, False, 3],
    "top_logprobs": WHOLE,
    "ignore_eos": [True, False],
    "skip_special_tokens": [True, False],
    "stream": [True, "no"],
    "response_format": [{"type": "json_object"}, {"type": "text"}, {"type": "?"}, {"type": None}, {}, *map(_schema, SCHEMAS)],
    "messages": [
        [], "hello", [1], [{}], [{"role": "user"}], [{"role": "?", "content": "a"}], [{"role": "user", "content": 3}],
        [{"role": "user", "content": None}], [{"role": "user", "content": []}], [{"role": "user", "content": [{}]}],
        [{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": [{"type": "image_url", "image_url": "a"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
        [{"role": "user", "content": "a" * 1_000_000}], [{"role": "assistant", "content": "a"}], [{"role": "system", "content": ""}],
    ],
}  # fmt: skip
BODIES = [
    b"",
    b"[]",
    b"\xff",
    b"[" * 100_000,
    b'{"model": "\\ud83d"}',
    b'{"seed": ' + b"9" * 5000 + b"}",
    b'{"top_p": NaN}',
]


def requests(body: dict[str, Any], together: int, seed: int) -> Iterator[bytes]:
    """Of a good body: every edge of every parameter alone, then so many times some of them together."""
    yield from BODIES
    for name, values in EDGES.items():
        for value in [*values, *WRONG]:
            yield json.dumps(body | {name: value}).encode()
    dice = random.Random(seed)
    for _ in range(together):
        names = dice.sample([*EDGES], dice.randint(2, 5))
        yield json.dumps(body | {name: dice.choice(EDGES[name]) for name in names}).encode()

"""Bounds of a JSON schema. Pure, so it is tested outside the engines' environments."""

from functools import reduce
from typing import Any

import pytest

from engines.openai_chat.schema import asked_of, check

STRING: dict[str, Any] = {"type": "string"}
INVOICE = {
    "type": "object",
    "properties": {
        "number": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4,10}$", "maxLength": 20},
        "kind": {"enum": ["invoice", "receipt"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 100},
        "total": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}]},
    },
    "required": ["number", "lines"],
    "additionalProperties": False,
    "$defs": {
        "line": {"type": "object", "properties": {"text": STRING, "parts": {"type": "array", "items": {"$ref": "#/$defs/line"}}}}
    },
}  # fmt: skip


def nested(depth: int) -> dict[str, Any]:
    return reduce(lambda inner, _: {"type": "array", "items": inner}, range(depth), STRING)


def properties(count: int, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {f"p{number}": STRING for number in range(count)}, **more}


@pytest.mark.parametrize(
    "schema",
    [
        INVOICE,
        {},
        nested(60),
        properties(512),
        properties(64, minProperties=32),
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": STRING}},
        properties(1) | {"properties": {"pattern": STRING, "$ref": STRING, "anyOf": STRING}},
    ],
)
def test_what_people_ask_for_is_taken(schema: dict[str, Any]):
    """Lists of itself, too; and properties may be called as keywords are."""
    check(schema)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"enum": ["a" * 70_000]}, "bytes"),
        (nested(70), "deeper"),
        (nested(5000), "deeper"),
        (properties(513), "properties"),
        (properties(65, maxProperties=10), "properties"),
        ({"anyOf": [STRING] * 513}, "alternatives"),
        ({"allOf": [{"anyOf": [STRING] * 30}] * 20}, "alternatives"),
        (properties(0, patternProperties={f"^{number}": STRING for number in range(65)}), "patterns"),
        ({"pattern": "a" * 513}, "patterns"),
        ({"$ref": "#"}, "leads back"),
        ({"anyOf": [{"$ref": "#"}]}, "leads back"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}},
            "leads back",
        ),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}, "leads back"),
        ({"$ref": "https://example.org/schema"}, "leads out"),
        ({"$ref": "file:///etc/passwd"}, "leads out"),
    ],
)
def test_what_would_cost_seconds_or_end_an_engine_is_refused(schema: dict[str, Any], words: str):
    """In words that repeat nothing of it."""
    with pytest.raises(ValueError, match=words):
        check(schema)


@pytest.mark.parametrize(
    ("response_format", "schema"),
    [
        ({"type": "json_schema", "json_schema": {"name": "a", "schema": STRING}}, STRING),
        ({"type": "json_schema", "json_schema": None}, None),
        ({"type": "json_schema"}, None),
        ({"type": "json_object"}, None),
    ],
)
def test_the_schema_is_found_where_openai_puts_it(response_format: dict[str, Any], schema: Any):
    assert asked_of(response_format) == schema

from typing import Any

import pytest

from deployments.gateway.errors import BadRequest
from deployments.gateway.schema_bounds import (
    ALTERNATIVES_MAX,
    BYTES_MAX,
    CHARACTERS_MAX,
    DEPTH_MAX,
    ENUM_VALUES_MAX,
    ITEMS_MAX,
    PATTERN_CHARACTERS_MAX,
    PATTERNS_MAX,
    SCHEMAS_MAX,
    Sizes,
    check_schema,
)

STRING = {"type": "string"}
NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels - 1):
        schema = {"type": "array", "items": schema}
    return schema


def either(number: int) -> dict[str, Any]:
    """Two ways."""
    return {"anyOf": [{"type": "string", "pattern": f"a*{number}"}, {"type": "integer"}]}


def chain(links: int, link: str) -> dict[str, Any]:
    """Definitions that each lead to the next one, by a keyword that takes several schemas."""
    steps = {f"d{i}": {link: [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(links)}
    return {"$defs": steps | {f"d{links}": STRING}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": ["string", "null"], "title": "A", "description": "...", "default": None, "examples": [{"type": "x"}]},
        {"type": "object", "properties": {"$ref": STRING, "type": STRING}, "required": ["type"]},
        {"type": "object", "additionalProperties": False, "patternProperties": {"^x-": True}},
        {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
        {"$defs": {"node": NODE}, "properties": {"a": {"$ref": "#/$defs/node"}, "b": {"$ref": "#/$defs/node"}}},
        {"type": "object", "properties": {"child": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}},
        {"definitions": {"a/b": STRING}, "$ref": "#/definitions/a~1b"},
        {"prefixItems": [STRING, {"$ref": "#/prefixItems/0"}]},
        {"properties": {f"field_{i}": {"anyOf": [STRING, {"type": "null"}]} for i in range(200)}},
        {"anyOf": [{"const": i} for i in range(ALTERNATIVES_MAX)]},
        {"allOf": [either(i) for i in range(8)]},
        {"enum": ["a", 1, None, {"b": 2}]},
        {"enum": list(range(ENUM_VALUES_MAX))},
        {"minItems": 5.0, "maxItems": ITEMS_MAX, "minLength": 0, "maxLength": CHARACTERS_MAX},
        {"minimum": 1, "exclusiveMinimum": True, "maximum": 1},
        nested(DEPTH_MAX),
    ],
)
def test_what_programs_make_of_their_types_passes(schema: dict[str, Any]):
    """With references to themselves, optional fields and all; what is not a keyword is not looked at."""
    check_schema(schema, "schema")


@pytest.mark.parametrize(
    ("schema", "param", "says"),
    [
        ({"$ref": "#"}, "$ref", "without an end"),
        ({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "$defs.b.$ref", "without an end"),
        ({"anyOf": [STRING, {"allOf": [{"$ref": "#"}]}]}, "anyOf[1].allOf[0].$ref", "without an end"),
        ({"$ref": "#/$defs/none"}, "$ref", "leads to nothing"),
        ({"$ref": "#/properties", "properties": {}}, "$ref", "leads to nothing"),
        ({"anyOf": [STRING], "not": {"$ref": "#/anyOf/1"}}, "not.$ref", "leads to nothing"),
        ({"$ref": "https://example.org/schema.json"}, "$ref", "in the same schema"),
        ({"$ref": 1}, "$ref", "in the same schema"),
        ({"$dynamicRef": "#node"}, "$dynamicRef", "in the same schema"),
        ({"type": "strin"}, "type", "a type is one of"),
        ({"type": []}, "type", "a type is one of"),
        ({"type": [["string"]]}, "type", "a type is one of"),
        ({"properties": {"a": {"type": None}}}, "properties.a.type", "a type is one of"),
        ({"properties": None}, "properties", "an object of schemas"),
        ({"properties": {"a": 1}}, "properties.a", "a schema is an object"),
        ({"items": [STRING]}, "items", "a schema is an object"),
        ({"anyOf": []}, "anyOf", "at least one"),
        ({"allOf": {"a": STRING}}, "allOf", "list of schemas"),
        ({"required": "a"}, "required", "list of names"),
        ({"required": [1]}, "required", "list of names"),
        ({"enum": []}, "enum", "at least one"),
        ({"enum": "red"}, "enum", "list of values"),
        ({"type": "string", "pattern": "(["}, "pattern", "no regular expression"),
        ({"pattern": 1}, "pattern", "a text of at most"),
        ({"patternProperties": {"(": STRING}}, "patternProperties", "no regular expression"),
        ({"multipleOf": 0}, "multipleOf", "above 0"),
        ({"multipleOf": "2"}, "multipleOf", "is a number"),
        ({"minimum": float("inf")}, "minimum", "is a number"),
        ({"minimum": -1e300}, "minimum", "is a number of at most"),
        ({"minItems": -1}, "minItems", "whole number"),
        ({"minLength": 1.5}, "minLength", "whole number"),
        ({"maxItems": True}, "maxItems", "whole number"),
        ({"minItems": 5, "maxItems": 2}, "minItems", "nothing is between it and 'maxItems'"),
        ({"minLength": 5, "maxLength": 2}, "minLength", "nothing is between it and 'maxLength'"),
        ({"minimum": 2, "maximum": 1}, "minimum", "nothing is between it and 'maximum'"),
        ({"minimum": 2, "exclusiveMaximum": 2}, "minimum", "nothing is between it and 'exclusiveMaximum'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_place(schema: dict[str, Any], param: str, says: str):
    """An engine would answer with a 500, with the end of its life, or with anything at all."""
    with pytest.raises(BadRequest, match=says) as refused:
        check_schema(schema, "schema")
    assert refused.value.param == f"schema.{param}"


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"allOf": [either(i) for i in range(9)]}, "multiply"),
        ({"allOf": [either(i) for i in range(40)]}, "multiply"),
        ({"anyOf": [{"const": i} for i in range(20)], "oneOf": [{"const": i} for i in range(20)]}, "multiply"),
        ({"not": {"allOf": [either(i) for i in range(20)]}}, "multiply"),
        (chain(30, "anyOf"), "multiply"),
        (chain(30, "allOf") | {"$defs": chain(30, "allOf")["$defs"] | {"d30": either(1)}}, "multiply"),
        ({"$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(900)} | {"d900": STRING}}, "through more"),
        (nested(DEPTH_MAX + 1), "nested deeper"),
        (nested(2000), "nested deeper"),
        ({"properties": {str(i): True for i in range(SCHEMAS_MAX)} | {"a": STRING} | {f"_{i}": {} for i in range(2000)}},
         "more than 2000 schemas"),
        ({"enum": list(range(ENUM_VALUES_MAX + 1))}, "values"),
        ({"anyOf": [{"enum": list(range(ENUM_VALUES_MAX))}, {"enum": [1]}]}, "values"),
        ({"description": "a" * BYTES_MAX}, "bytes"),
        ({"properties": {f"p{i}": {"pattern": "(" * 250 + ")" * 250} for i in range(21)}}, "repeated as they say"),
        ({"pattern": "a" * (PATTERN_CHARACTERS_MAX + 1)}, "characters"),
        ({"pattern": "^(a{1,1000}){1,1000}$"}, "repeated as it says"),
        ({"patternProperties": {f"a{i}": STRING for i in range(PATTERNS_MAX + 1)}}, "patterns"),
        ({"properties": {f"p{i}": {"pattern": "a{999}"} for i in range(11)}}, "repeated as they say"),
        ({"maxItems": ITEMS_MAX + 1}, "at most"),
        ({"minLength": CHARACTERS_MAX + 1}, "at most"),
    ],
)  # fmt: skip
def test_what_would_be_a_huge_grammar_is_refused(schema: dict[str, Any], says: str):
    """By a bound on each way in which one grows."""
    with pytest.raises(BadRequest, match=says) as refused:
        check_schema(schema, "schema")
    assert (refused.value.param or "").startswith("schema")


@pytest.mark.parametrize(
    ("schema", "times", "says"),
    [
        ({"description": "a" * 1000}, 65, "bytes"),
        ({"properties": {f"p{i}": {} for i in range(99)}}, 21, "schemas within"),
        ({"enum": list(range(100))}, 21, "values"),
        ({"pattern": "a"}, 65, "patterns"),
        ({"pattern": "a{1000}"}, 11, "repeated as they say"),
    ],
)
def test_the_schemas_of_a_request_are_bounded_together(schema: dict[str, Any], times: int, says: str):
    """As a request may have a hundred tools."""
    sizes = Sizes()
    for _ in range(times - 1):
        check_schema(schema, "schema", sizes)
    with pytest.raises(BadRequest, match=says):
        check_schema(schema, "schema", sizes)

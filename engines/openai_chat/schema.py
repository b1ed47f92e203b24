"""Bounds of a JSON schema that an answer must keep to: what they let through, xgrammar compiles in a bounded time. Pure.

The numbers are far above what people ask for, and below what was measured to cost seconds (xgrammar 0.2.8): an object of
2,000 properties, one of 200 properties of which a hundred must be there, a hundred alternatives of a hundred.
"""

import json
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

BYTES_MAX = 64 * 1024
DEPTH_MAX = 64
PROPERTIES_MAX = 512
# Where their number is bounded, each number of them is a state of its own.
COUNTED_PROPERTIES_MAX = 64
BRANCHES_MAX = 512
PATTERNS_MAX, PATTERN_CHARACTERS_MAX = 64, 512

BRANCHES = ("anyOf", "oneOf", "allOf")
COUNTS_OF_PROPERTIES = ("minProperties", "maxProperties")


def asked_of(response_format: dict[str, Any]) -> Any:
    """The schema in OpenAI's `response_format`; None if it has none."""
    described = response_format.get("json_schema")
    return described.get("schema") if isinstance(described, dict) else None


def check(schema: Any) -> None:
    """Raises ValueError, in words for the caller that repeat nothing of the schema."""
    objects = list(_objects(schema))  # first: what is too deep for it is too deep for `json`
    if len(json.dumps(schema)) > BYTES_MAX:
        raise ValueError(f"the schema is above {BYTES_MAX} bytes")
    branches = sum(len(one[name]) for one in objects for name in BRANCHES if isinstance(one.get(name), list))
    if branches > BRANCHES_MAX:
        raise ValueError(f"the schema has more than {BRANCHES_MAX} alternatives (anyOf, oneOf, allOf)")
    for one in objects:
        _check_properties(one)
        _check_reference(one)
    _check_cycles(schema, objects)
    patterns = [pattern for one in objects for pattern in _patterns(one)]
    if len(patterns) > PATTERNS_MAX or any(len(pattern) > PATTERN_CHARACTERS_MAX for pattern in patterns):
        raise ValueError(
            f"the schema has more than {PATTERNS_MAX} patterns, or one above {PATTERN_CHARACTERS_MAX} characters"
        )


def has_patterns(schema: Any) -> bool:
    return any(_patterns(one) for one in _objects(schema))


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in it. Without recursion: a schema may be deeper than Python's stack."""
    waiting = [(schema, 1)]
    while waiting:
        one, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise ValueError(f"the schema is nested deeper than {DEPTH_MAX} levels")
        if isinstance(one, dict):
            yield one
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        waiting += [(value, depth + 1) for value in inner]


def _check_properties(one: dict[str, Any]) -> None:
    count = len(one["properties"]) if isinstance(one.get("properties"), dict) else 0
    if count > PROPERTIES_MAX:
        raise ValueError(f"an object of the schema has more than {PROPERTIES_MAX} properties")
    if count > COUNTED_PROPERTIES_MAX and any(name in one for name in COUNTS_OF_PROPERTIES):
        raise ValueError(
            f"an object of the schema has more than {COUNTED_PROPERTIES_MAX} properties, and a bound on their number"
        )


def _check_reference(one: dict[str, Any]) -> None:
    """Nothing is fetched; xgrammar would take a reference elsewhere for anything at all."""
    reference = one.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        raise ValueError("a $ref of the schema leads out of it")


def _check_cycles(schema: Any, objects: list[dict[str, Any]]) -> None:
    """A schema that is itself, and nothing in between, allows no token: an engine could only fail. A list of itself is one."""
    same = {id(one): {id(other) for other in _same(one, schema)} for one in objects}
    try:
        TopologicalSorter(same).prepare()
    except CycleError:
        raise ValueError("a $ref of the schema leads back to it, with nothing in between") from None


def _same(one: dict[str, Any], schema: Any) -> Iterator[Any]:
    """The schemas whose every value, or some, this one's are."""
    if isinstance(reference := one.get("$ref"), str):
        yield _referred(reference, schema)
    for name in BRANCHES:
        if isinstance(one.get(name), list):
            yield from one[name]


def _referred(reference: str, schema: Any) -> Any:
    """None if there is no such place: xgrammar refuses that."""
    for step in reference.removeprefix("#").split("/")[1:]:
        if not isinstance(schema, dict):
            return None
        schema = schema.get(unquote(step).replace("~1", "/").replace("~0", "~"))
    return schema


def _patterns(one: dict[str, Any]) -> list[str]:
    keyed = one.get("patternProperties")
    found = [one.get("pattern"), *(keyed if isinstance(keyed, dict) else ())]
    return [pattern for pattern in found if isinstance(pattern, str)]

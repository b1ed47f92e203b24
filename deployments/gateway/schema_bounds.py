"""Whether a JSON schema may go to an engine, which makes a grammar of it before it answers. Pure.

A schema of three kilobytes can be a grammar of gigabytes (`allOf` of many `anyOf`), and a reference to itself one without an
end: while an engine works on it, it answers nobody. So what an engine gets is bounded here, in what makes grammars large,
and makes sense: types that there are, references that lead somewhere, bounds that something can be within.

The bounds are well above what a program's types come to, and each was compiled by the engines' grammar libraries (xgrammar,
llguidance) within a second; for a vocabulary of 150,000 tokens xgrammar takes some 2 ms of CPU a property, 8 s for a text of
`maxLength`, whatever that is. What a keyword means beyond that is the engine's business.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from deployments.gateway.errors import BadRequest
from deployments.gateway.form import PATH_CHARACTERS_MAX
from deployments.gateway.pattern import copies

Schema = dict[str, Any]

BYTES_MAX = 64 * 2**10
DEPTH_MAX = 32
# References and choices that lead from one schema to another for the same value.
REACH_MAX = 64
SCHEMAS_MAX = 2000
ENUM_VALUES_MAX = 2000
PATTERNS_MAX = 64
PATTERN_CHARACTERS_MAX = 512
# Characters of a pattern as it is written out: `(a{1,9}b){5}` is 50. For 10,000 xgrammar takes 8 s, for 1,000 0.06; so this is
# of one, and ten times as many of all.
PATTERN_COPIES_MAX = 1000
COPIES_MAX = 10 * PATTERN_COPIES_MAX
# Ways to choose among the members of `anyOf` and `oneOf` for one value: side by side or under `allOf` they multiply.
ALTERNATIVES_MAX = 256
# Of `minItems` and the like, which engines write out; of lengths, which they count.
ITEMS_MAX = 1000
CHARACTERS_MAX = 100_000
# Engines reckon with integers of 64 bits; beyond 53, JSON's numbers are not exact.
NUMBER_MAX = 2**53

TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
# Keywords by what is under them: one schema (or true, false), several, several by name.
ONE = ("items", "additionalProperties", "contains", "propertyNames", "not", "if", "then", "else", "unevaluatedProperties",
       "unevaluatedItems", "additionalItems")  # fmt: skip
SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
CHOICES = ("anyOf", "oneOf")
# They lead to what is known only while a value is read.
DYNAMIC = ("$dynamicRef", "$recursiveRef")
SIZES = {
    "minItems": ITEMS_MAX,
    "maxItems": ITEMS_MAX,
    "minProperties": ITEMS_MAX,
    "maxProperties": ITEMS_MAX,
    "minContains": ITEMS_MAX,
    "maxContains": ITEMS_MAX,
    "minLength": CHARACTERS_MAX,
    "maxLength": CHARACTERS_MAX,
}
NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
# The first may not be above the second; of the last three, nor equal.
ORDERED = (
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
    ("minLength", "maxLength"),
    ("minimum", "maximum"),
)
APART = (
    ("minimum", "exclusiveMaximum"),
    ("exclusiveMinimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
)


@dataclass(slots=True)
class Sizes:
    """What the schemas of a request come to: a hundred tools have a schema each, and the bounds are of all together."""

    bytes: int = 0
    schemas: int = 0
    patterns: int = 0
    copies: int = 0
    enum_values: int = 0


def check_schema(schema: Schema, path: str, sizes: Sizes | None = None) -> None:
    """`path` is where the schema stands in the body; `sizes` are of those before it. Raises `BadRequest`, which names the
    place of the fault below `path`.
    """
    sizes = sizes or Sizes()
    _check_size(schema, path, sizes)
    found = _Found(schema, sizes)
    for at, node in _nodes(schema, path):
        found.add(at, node)
    for at, node in found.schemas:
        for place, target in found.targets(at, node):
            if id(target) not in found.places and not isinstance(target, bool):
                _refuse(place, "it leads to nothing that is a schema")
    _Alternatives(found).check()


def _check_size(schema: Schema, path: str, sizes: Sizes) -> None:
    try:
        sizes.bytes += len(orjson.dumps(schema))
    except orjson.JSONEncodeError:
        _refuse(path, f"it is nested deeper than {DEPTH_MAX} schemas")
    if sizes.bytes > BYTES_MAX:
        _refuse(path, f"the request's schemas are above {BYTES_MAX} bytes")


def _nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema within, itself first, and its place; true and false are none."""
    waiting = [(path, schema, 1)]
    while waiting:
        at, node, depth = waiting.pop()
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            _refuse(at, "a schema is an object, true or false")
        if depth > DEPTH_MAX:
            _refuse(at, f"it is nested deeper than {DEPTH_MAX} schemas")
        yield at, node
        waiting += [(below, child, depth + 1) for below, child in _children(at, node)][::-1]


def _children(at: str, node: Schema) -> Iterator[tuple[str, Any]]:
    yield from ((f"{at}.{name}", node[name]) for name in ONE if name in node)
    for name in SEVERAL:
        if name not in node:
            continue
        if not isinstance(node[name], list) or not node[name]:
            _refuse(f"{at}.{name}", "it is a list of schemas, and has at least one")
        yield from ((f"{at}.{name}[{i}]", child) for i, child in enumerate(node[name]))
    for name in NAMED:
        if name not in node:
            continue
        if not isinstance(node[name], dict):
            _refuse(f"{at}.{name}", "it is an object of schemas")
        yield from ((f"{at}.{name}.{key}", child) for key, child in node[name].items())


@dataclass(slots=True)
class _Found:
    """The schemas of one document, checked one by one and counted together."""

    document: Schema
    sizes: Sizes
    schemas: list[tuple[str, Schema]] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)

    def add(self, at: str, node: Schema) -> None:
        self.schemas.append((at, node))
        self.places[id(node)] = at
        self.sizes.schemas += 1
        if self.sizes.schemas > SCHEMAS_MAX:
            _refuse(at, f"there are more than {SCHEMAS_MAX} schemas within")
        for name in DYNAMIC:
            if name in node:
                _refuse(f"{at}.{name}", "references are '$ref' to a place in the same schema")
        _check_type(at, node)
        _check_numbers(at, node)
        self._check_values(at, node)
        for place, pattern in _patterns(at, node):
            self.sizes.patterns += 1
            if self.sizes.patterns > PATTERNS_MAX:
                _refuse(place, f"there are more than {PATTERNS_MAX} patterns")
            self.sizes.copies += _copies(place, pattern)
            if self.sizes.copies > COPIES_MAX:
                _refuse(place, f"the patterns have more than {COPIES_MAX} characters, repeated as they say")

    def targets(self, at: str, node: Schema) -> Iterator[tuple[str, Any]]:
        """What `$ref` leads to."""
        if "$ref" in node:
            place = f"{at}.$ref"
            yield place, _resolved(node["$ref"], self.document, place)

    def _check_values(self, at: str, node: Schema) -> None:
        if "enum" in node:
            values = node["enum"]
            if not isinstance(values, list) or not values:
                _refuse(f"{at}.enum", "it is a list of values, and has at least one")
            self.sizes.enum_values += len(values)
            if self.sizes.enum_values > ENUM_VALUES_MAX:
                _refuse(f"{at}.enum", f"there are more than {ENUM_VALUES_MAX} values")
        required = node.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            _refuse(f"{at}.required", "it is a list of names")


def _check_type(at: str, node: Schema) -> None:
    if "type" not in node:
        return
    named = node["type"] if isinstance(node["type"], list) else [node["type"]]
    if not named or not all(isinstance(name, str) and name in TYPES for name in named):
        _refuse(f"{at}.type", f"a type is one of {', '.join(sorted(TYPES))}, or a list of them")


def _check_numbers(at: str, node: Schema) -> None:
    for name, most in SIZES.items():
        if name in node and not (_is_number(node[name]) and node[name] == int(node[name]) and 0 <= node[name] <= most):
            _refuse(f"{at}.{name}", f"it is a whole number of at most {most}")
    for name in NUMBERS:
        is_old_flag = name.startswith("exclusive") and isinstance(node.get(name), bool)
        if name in node and not is_old_flag and not (_is_number(node[name]) and abs(node[name]) <= NUMBER_MAX):
            _refuse(f"{at}.{name}", f"it is a number of at most {NUMBER_MAX}")
    if "multipleOf" in node and node["multipleOf"] <= 0:
        _refuse(f"{at}.multipleOf", "it is above 0")
    for low, high in (*ORDERED, *APART):
        ends = [node[name] for name in (low, high) if _is_number(node.get(name))]
        if len(ends) == 2 and (ends[0] > ends[1] or (ends[0] == ends[1] and (low, high) in APART)):
            _refuse(f"{at}.{low}", f"nothing is between it and '{high}'")


def _patterns(at: str, node: Schema) -> Iterator[tuple[str, Any]]:
    if "pattern" in node:
        yield f"{at}.pattern", node["pattern"]
    yield from ((f"{at}.patternProperties", key) for key in node.get("patternProperties", ()))


def _copies(at: str, pattern: Any) -> int:
    if not isinstance(pattern, str) or len(pattern) > PATTERN_CHARACTERS_MAX:
        _refuse(at, f"a pattern is a text of at most {PATTERN_CHARACTERS_MAX} characters")
    try:
        number = copies(pattern)
    except re.error:
        _refuse(at, "it is no regular expression")
    if number > PATTERN_COPIES_MAX:
        _refuse(at, f"it has more than {PATTERN_COPIES_MAX} characters, repeated as it says")
    return max(number, len(pattern))  # brackets alone are work as well


def _resolved(reference: Any, document: Schema, at: str) -> Any:
    """A JSON pointer's target (RFC 6901)."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        _refuse(at, "references are '#/...', to a place in the same schema")
    node: Any = document
    for step in reference.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isascii() and name.isdigit() and len(name) < 5 and int(name) < len(node):
            node = node[int(name)]
        else:
            _refuse(at, "it leads to nothing that is a schema")
    return node


class _Alternatives:
    """How many ways there are to choose for one value. What is below it (properties, items) is chosen for by itself."""

    def __init__(self, found: _Found) -> None:
        self._found = found
        self._ways: dict[int, int] = {}
        self._open: set[int] = set()

    def check(self) -> None:
        """Raises `BadRequest` also for a schema that comes back to itself without anything between."""
        for at, node in self._found.schemas:
            self._of(at, node)

    def _of(self, at: str, node: Any) -> int:
        if not isinstance(node, dict):
            return 1
        if id(node) in self._ways:
            return self._ways[id(node)]
        if id(node) in self._open:
            _refuse(at, "it is a part of itself, without an end")
        if len(self._open) > REACH_MAX:
            _refuse(at, f"it is reached through more than {REACH_MAX} others")
        self._open.add(id(node))
        at = self._found.places[id(node)]
        ways = math.prod(self._of(place, target) for place, target in self._found.targets(at, node))
        for name in CHOICES:
            if name in node:
                ways *= sum(self._of(f"{at}.{name}[{i}]", child) for i, child in enumerate(node[name]))
        ways *= math.prod(self._of(f"{at}.allOf[{i}]", child) for i, child in enumerate(node.get("allOf", ())))
        for name in ("not", "if", "then", "else"):
            if name in node:
                ways *= 1 + self._of(f"{at}.{name}", node[name])
        if ways > ALTERNATIVES_MAX:
            _refuse(at, f"its choices multiply to more than {ALTERNATIVES_MAX} alternatives")
        self._open.remove(id(node))
        self._ways[id(node)] = ways
        return ways


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _refuse(at: str, why: str) -> NoReturn:
    param = at[:PATH_CHARACTERS_MAX]
    raise BadRequest(f"'{param}': {why}.", param=param)

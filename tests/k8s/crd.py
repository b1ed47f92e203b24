"""Validation against CustomResourceDefinitions as the API server does it: structure, unknown fields, scope and CEL rules."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cel
import jsonschema

Schema = dict[str, Any]
Kind = tuple[str, str]  # apiVersion, kind


@dataclass
class Definition:
    """One version of a kind."""

    schema: Schema
    namespaced: bool

    def faults(self, manifest: dict) -> Iterator[str]:
        """What the API server would refuse."""
        manifest = _defaulted(self.schema, manifest)
        for error in jsonschema.Draft202012Validator(self.schema).iter_errors(manifest):
            yield f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        if not self.namespaced and "namespace" in manifest["metadata"]:
            yield "metadata.namespace: this kind belongs to the whole cluster"
        for path, rule, value in _rules(self.schema, manifest, ()):
            if _holds(rule["rule"], value) is False:
                yield f"{path}: {rule.get('message', rule['rule'])}"

    def rules_evaluated(self, manifest: dict) -> int:
        """How many CEL rules were really asked."""
        manifest = _defaulted(self.schema, manifest)
        return sum(_holds(rule["rule"], value) is not None for _, rule, value in _rules(self.schema, manifest, ()))


def load(archive: Path) -> dict[Kind, Definition]:
    """Every CustomResourceDefinition (JSON) of an archive."""
    found = {}
    for spec in _specs(archive):
        for version in spec["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"] |= {"metadata": {}, "apiVersion": {}, "kind": {}}
            kind = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            found[kind] = Definition(schema, spec["scope"] == "Namespaced")
    return found


def _specs(archive: Path) -> Iterator[dict[str, Any]]:
    with tarfile.open(archive) as files:
        for member in files:
            file = files.extractfile(member)
            assert file is not None
            yield json.loads(file.read())["spec"]


def _closed(schema: Schema, *, strict: bool = True) -> Schema:
    """A structural schema as JSON Schema: unknown fields refused, int-or-string understood."""
    dropped = {"description", "nullable", "format"}
    plain = {word: value for word, value in schema.items() if word not in dropped}
    if schema.get("x-kubernetes-int-or-string"):
        plain.pop("type", None)
        plain.pop("pattern", None)
        return plain | {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    if properties := schema.get("properties"):
        plain["properties"] = {name: _closed(part, strict=strict) for name, part in properties.items()}
        if strict and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            plain["additionalProperties"] = False
    for word in ("additionalProperties", "items"):
        if isinstance(schema.get(word), dict):
            plain[word] = _closed(schema[word], strict=strict)
    for word in ("oneOf", "allOf", "anyOf"):
        if word in schema:
            plain[word] = [_closed(part, strict=False) for part in schema[word]]
    if "not" in schema:
        plain["not"] = _closed(schema["not"], strict=False)
    if schema.get("nullable") and "type" in plain:
        plain["type"] = [plain["type"], "null"]
    return plain


def _defaulted(schema: Schema, value: Any) -> Any:
    """`value` with the schema's defaults filled in, which the API server does before it validates."""
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_defaulted(schema["items"], part) for part in value]
    if not isinstance(value, dict):
        return value
    parts, others = schema.get("properties", {}), schema.get("additionalProperties")
    missing = {name: part["default"] for name, part in parts.items() if "default" in part and name not in value}
    return {
        name: _defaulted(within, part) if isinstance(within := parts.get(name, others), dict) else part
        for name, part in {**value, **missing}.items()
    }


def _rules(schema: Schema, value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Schema, Any]]:
    """Every CEL rule that applies to a part of `value`, with that part."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield ".".join(path), rule, value
    if isinstance(value, dict):
        others = schema.get("additionalProperties")
        for name, part in value.items():
            within = schema.get("properties", {}).get(name, others)
            if isinstance(within, dict):
                yield from _rules(within, part, (*path, name))
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, part in enumerate(value):
            yield from _rules(schema["items"], part, (*path, str(index)))


def _holds(rule: str, value: Any) -> bool | None:
    """None: it cannot be known here. Rules about `oldSelf` need the stored object, others Kubernetes' own functions."""
    if "oldSelf" in rule:
        return None
    try:
        return bool(cel.evaluate(rule, {"self": value}))
    except (RuntimeError, TypeError, ValueError, LookupError):
        return None

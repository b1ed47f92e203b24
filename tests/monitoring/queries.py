"""Every query of the dashboards and alert rules, and which series each asks for."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

COMPONENT = Path(__file__).parents[2] / "k8s" / "components" / "monitoring"
DASHBOARDS = sorted((COMPONENT / "dashboards").glob("*.json"))
RULE_FILE = COMPONENT / "prometheusrule.yaml"
# Grafana puts a model's name there.
VARIABLES = {"$model": "demo-qwen2-vl"}


@dataclass(frozen=True)
class Query:
    """`where`: the file and the panel or rule."""

    where: str
    expression: str


@dataclass(frozen=True)
class Selector:
    """A series that a query asks for, and the labels that it has to have. `matchers` are those that are equal to something."""

    name: str
    labels: frozenset[str]
    matchers: frozenset[tuple[str, str]]


def rules() -> list[dict[str, Any]]:
    spec = yaml.safe_load(RULE_FILE.read_text())["spec"]
    return [rule for group in spec["groups"] for rule in group["rules"]]


def recorded() -> dict[str, str]:
    """The expressions of recording rules, by the name that they give."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def queries() -> Iterator[Query]:
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                yield Query(f"{file.stem}: {panel['title']}", _filled(target["expr"]))
    for rule in rules():
        yield Query(f"rules: {rule.get('alert') or rule['record']}", rule["expr"])


def selectors(expression: str) -> list[Selector]:
    """Those of a query, each with the labels that it matches and that any aggregation around it keeps."""
    return list(_selectors(promql_parser.parse(expression), frozenset()))


def _filled(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def _selectors(expression: Any, kept: frozenset[str]) -> Iterator[Selector]:
    match expression:
        case promql_parser.VectorSelector():
            matchers = expression.matchers.matchers
            equal = {(one.name, one.value) for one in matchers if one.op == promql_parser.MatchOp.Equal}
            labels = kept | {one.name for one in matchers}
            yield Selector(expression.name, labels, frozenset(equal))
        case promql_parser.MatrixSelector():
            yield from _selectors(expression.vector_selector, kept)
        case promql_parser.AggregateExpr():
            by = frozenset(expression.modifier.labels) if expression.modifier else frozenset[str]()
            yield from _selectors(expression.expr, by)
        case promql_parser.Call():
            for argument in expression.args:
                yield from _selectors(argument, kept)
        case promql_parser.BinaryExpr():
            yield from _selectors(expression.lhs, kept)
            yield from _selectors(expression.rhs, kept)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            yield from _selectors(expression.expr, kept)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case other:
            raise TypeError(f"no rule for {type(other).__name__}")

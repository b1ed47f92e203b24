"""`vlmfleet scaling` on a real gateway."""

from typing import Any

import pytest

from cli.scaling import without_repeats
from deployments.gateway.admin.scaling import nobody
from tests.cli.conftest import Fleet, Vlmfleet
from tests.gateway.admin.test_scaling import MODEL, decided, explained


@pytest.mark.parametrize("explain", [nobody])
def test_where_nothing_decides_the_command_says_what_to_deploy(fleet: Fleet, vlmfleet: Vlmfleet):
    ended = vlmfleet("scaling", "explain", "demo-qwen2-vl")
    assert ended.status == 1
    assert "Deploy the application 'scaling'" in ended.err


def row(at: int, replicas: int = 1) -> dict[str, Any]:
    return {"at": at, "want": replicas, "granted": None, "replicas": replicas, "running": 1, "starting": replicas - 1}


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([], []),
        ([row(9)], [9]),
        ([row(9), row(8), row(7), row(6)], [9, 6]),
        ([row(9), row(8, 2), row(7, 2), row(6), row(5)], [9, 7, 5]),
        ([row(9), row(8), row(7, 2), row(6)], [9, 8, 7, 6]),
    ],
)
def test_a_decision_that_only_repeats_the_one_before_is_not_shown(rows: list[dict[str, Any]], shown: list[int]):
    """But the latest always is."""
    assert [row["at"] for row in without_repeats(rows)] == shown


@pytest.mark.parametrize("explain", [explained(decided())])
def test_why_a_model_has_its_replicas(fleet: Fleet, vlmfleet: Vlmfleet):
    """Each line with the reason for its change, and as many lines as were asked for."""
    ended = vlmfleet("scaling", "explain", MODEL, "--limit", "2")
    assert ended.status == 0
    assert ended.out.count("backlog 3 GPU-s") == 2

"""Without Ray: the gateway's handle is played by a class of a few lines."""

from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException, RequestCancelledError

from catalog import load_catalog
from deployments.batches import deployment
from deployments.batches.deployment import OWN_APP, GatewayLines, served_name
from deployments.batches.line import Answered, Unreachable


class Handle:
    """A `DeploymentHandle` of one answer, or error."""

    def __init__(self, told: Answered | Exception) -> None:
        self._told = told
        self.calls: list[tuple[Any, ...]] = []

    def options(self, method_name: str) -> "Handle":
        self.calls.append((method_name,))
        return self

    async def remote(self, *arguments: Any) -> Answered:
        self.calls.append(arguments)
        if isinstance(self._told, Exception):
            raise self._told
        return self._told


@pytest.mark.parametrize(("app", "asked_for"), [("gateway", "gateway"), (OWN_APP, "default")])
async def test_a_line_is_run_by_the_gateways_application(monkeypatch: pytest.MonkeyPatch, app: str, asked_for: str):
    """By name, or that which the worker is in."""
    handle, names = Handle(Answered(200, {}, b"{}")), []
    context = SimpleNamespace(app_name="default")
    monkeypatch.setattr(deployment.serve, "get_app_handle", lambda name: names.append(name) or handle)
    monkeypatch.setattr(deployment.serve, "get_replica_context", lambda: context)
    lines = GatewayLines(app)
    for _ in range(2):
        assert (await lines.run("key_1", "name", b"body")).status == 200
    assert names == [asked_for]
    assert handle.calls == [("run_line",), ("key_1", "name", b"body"), ("key_1", "name", b"body")]


@pytest.mark.parametrize(
    "error", [DeploymentUnavailableError, RequestCancelledError, RayServeException, ActorDiedError]
)
async def test_a_gateway_that_is_gone_is_unreachable(monkeypatch: pytest.MonkeyPatch, error: type[Exception]):
    """However Ray says so: the line is asked for again."""
    failure = error("deployment") if error is DeploymentUnavailableError else error()
    monkeypatch.setattr(deployment.serve, "get_app_handle", lambda name: Handle(failure))
    with pytest.raises(Unreachable):
        await GatewayLines("gateway").run("key_1", "name", b"body")


async def test_a_gateway_that_is_not_deployed_yet_is_unreachable(monkeypatch: pytest.MonkeyPatch):
    """The worker may start first."""

    def nowhere(name: str) -> Handle:
        raise RayServeException("no such application")

    monkeypatch.setattr(deployment.serve, "get_app_handle", nowhere)
    with pytest.raises(Unreachable):
        await GatewayLines("gateway").run("key_1", "name", b"body")


def test_a_model_has_one_served_name():
    """By any of its names."""
    assert served_name(load_catalog(), "demo") == "demo-qwen2-vl"
    assert served_name(load_catalog(), "gpt-5") is None

"""Without Ray: what Serve answers is played by a handle of a few lines."""

import asyncio
from collections.abc import Generator
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException, RequestCancelledError

from deployments.gateway.errors import GatewayError, ModelWarming, Overloaded
from deployments.gateway.route import Replica, ServeRouter
from tests.gateway.house import CARD


class Handle:
    """A `DeploymentHandle` whose next reservation ends with `error`, if it has one."""

    def __init__(self, *, error: Exception | None = None, stuck: bool = False, populated: bool = True) -> None:
        self.error, self.stuck, self.populated = error, stuck, populated
        self.open: list[str] = []
        self.sessions: list[str] = []

    def options(self, session_id: str = "", method_name: str = "") -> "Handle":
        self.sessions += [session_id] if session_id else []
        return self

    def running_replicas_populated(self) -> bool:
        return self.populated

    @asynccontextmanager
    async def choose_replica(self):
        if self.stuck:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        self.open.append("slot")
        yield SimpleNamespace(replica_id="r1", replica_metadata={"url": "http://10.0.0.9:1", "token": "t"})
        self.open.remove("slot")

    def dispatch(self, selection: Any, request_id: str, deadline_s: float) -> "Lease":
        return Lease(self.open)


class Lease:
    """A `DeploymentResponse` of a call that runs until it is cancelled."""

    def __init__(self, opened: list[str]) -> None:
        self._opened = opened
        self._cancelled = asyncio.Event()
        opened.append("lease")

    def cancel(self) -> None:
        self._cancelled.set()

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._cancelled.wait().__await__()
        self._opened.remove("lease")
        raise RequestCancelledError("request")


async def test_a_slot_and_its_lease_are_held_while_the_request_runs():
    """Both are given back however it ends."""
    handle = Handle()
    router = ServeRouter(lambda card: handle, queue_wait_s=1.0)
    with suppress(ZeroDivisionError):
        async with router.replica(CARD, "sha", "request", 60.0) as replica:
            assert replica == Replica("r1", "http://10.0.0.9:1", "t")
            assert handle.open == ["slot", "lease"]
            raise ZeroDivisionError
    assert handle.open == []
    assert handle.sessions == ["sha"]


@pytest.mark.parametrize(
    ("handle", "error"),
    [
        (Handle(error=BackPressureError(9, 9)), Overloaded),
        (Handle(error=DeploymentUnavailableError("m")), ModelWarming),
        (Handle(stuck=True), Overloaded),
        (Handle(stuck=True, populated=False), ModelWarming),
    ],
    ids=["queue full", "not running", "all busy", "none started"],
)
async def test_a_model_without_a_free_replica_says_why(handle: Handle, error: type[GatewayError]):
    """A busy model and one that is starting are told apart; both are tried again."""
    with pytest.raises(error):
        async with ServeRouter(lambda card: handle, queue_wait_s=0.01).replica(CARD, "sha", "request", 60.0):
            pytest.fail("there is no replica")


async def test_a_model_that_is_not_deployed_is_starting():
    """It is asked for anew with every request, so its deployment is noticed."""

    def find(card: object) -> Any:
        if not deployed:
            raise RayServeException("no such application")
        return Handle()

    deployed: list[bool] = []
    router = ServeRouter(find, queue_wait_s=1.0)
    with pytest.raises(ModelWarming):
        async with router.replica(CARD, "sha", "request", 60.0):
            pytest.fail("there is no replica")
    deployed.append(True)
    async with router.replica(CARD, "sha", "request", 60.0) as replica:
        assert replica.id == "r1"

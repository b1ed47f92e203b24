"""Without Ray: what Serve answers is played by a handle of a few lines."""

import asyncio
from collections.abc import Generator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError, RayServeException, RequestCancelledError

from catalog.card import ModelCard
from deployments.gateway import route, running
from deployments.gateway.errors import GatewayError, ModelWarming, Overloaded
from deployments.gateway.route import ServeRouter
from deployments.gateway.slots import ANY, Replica, Wish
from tests.gateway.house import CARD


class Handle:
    """A `DeploymentHandle` whose next reservation ends with `error`, if it has one. `sessions` are its session ids."""

    app_name, deployment_name = "model-demo", "Engine-demo"

    def __init__(self, *, error: Exception | None = None, stuck: bool = False, populated: bool = True) -> None:
        self.error, self.stuck, self.populated = error, stuck, populated
        self.open: list[str] = []
        self.sessions: list[str] = []

    def options(self, **options: str) -> "Handle":
        self.sessions += [options["session_id"]] if "session_id" in options else []
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
        try:
            yield SimpleNamespace(replica_id="r1", replica_metadata={"url": "http://10.0.0.9:1", "token": "t"})
        finally:
            self.open.remove("slot")

    def dispatch(self, selection: Any, holder: str) -> "Lease":
        return Lease(self.open, f"lease of {holder}")


class Lease:
    """A `DeploymentResponse` of a call that runs until it is cancelled."""

    def __init__(self, opened: list[str], name: str) -> None:
        self._opened, self._name = opened, name
        self._cancelled = asyncio.Event()
        opened.append(name)

    def cancel(self) -> None:
        self._cancelled.set()

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._cancelled.wait().__await__()
        self._opened.remove(self._name)
        raise RequestCancelledError("request")


def router_to(handle: Handle, queue_wait_s: float = 1.0) -> ServeRouter:
    return ServeRouter(lambda card: handle, "gateway-1", queue_wait_s)


async def test_a_slot_carries_a_lease_of_this_gateway():
    """Without one, Serve would not see the request, nor free the slot of a gateway that died."""
    handle = Handle()
    router = router_to(handle)
    async with router.replica(CARD, 60.0, ANY) as replica:
        assert replica == Replica("r1", "http://10.0.0.9:1", "t")
        assert handle.open == ["slot", "lease of gateway-1"]
    await router.close()
    assert handle.open == []


async def test_the_wanted_replica_travels_as_the_session():
    """`AffinityRouter`, which Serve runs in this process, has told which replicas there are."""
    handle = Handle()
    running.publish(handle.app_name, handle.deployment_name, ("r1",))
    router = router_to(handle)
    async with router.replica(CARD, 60.0, Wish("image")):
        assert handle.sessions == ["r1"]
        assert router.replicas(CARD) == 1
    await router.close()
    running.publish(handle.app_name, handle.deployment_name, ())


@pytest.mark.parametrize(
    ("handle", "error"),
    [
        (Handle(error=BackPressureError(9, 9)), Overloaded),
        (Handle(error=DeploymentUnavailableError("m")), ModelWarming),
        (Handle(error=RayServeException("the replica is gone")), ModelWarming),
        (Handle(stuck=True), Overloaded),
        (Handle(stuck=True, populated=False), ModelWarming),
    ],
    ids=["queue full", "not running", "just gone", "all busy", "none started"],
)
async def test_a_model_without_a_free_replica_says_why(handle: Handle, error: type[GatewayError]):
    """A busy model and one that is starting are told apart; both are tried again."""
    with pytest.raises(error):
        async with router_to(handle, queue_wait_s=0.01).replica(CARD, 60.0, ANY):
            pytest.fail("there is no replica")


async def test_a_request_waits_no_longer_than_its_own_deadline():
    with pytest.raises(Overloaded):
        async with router_to(Handle(stuck=True), queue_wait_s=3600.0).replica(CARD, 0.01, ANY):
            pytest.fail("there is no replica")


async def test_a_model_that_is_not_deployed_is_starting():
    """It is asked for anew with every request, so its deployment is noticed."""

    def find(card: object) -> Any:
        if not deployed:
            raise RayServeException("no such application")
        return Handle()

    deployed: list[bool] = []
    router = ServeRouter(find, "gateway-1", queue_wait_s=1.0)
    with pytest.raises(ModelWarming):
        async with router.replica(CARD, 60.0, ANY):
            pytest.fail("there is no replica")
    deployed.append(True)
    async with router.replica(CARD, 60.0, ANY) as replica:
        assert replica.id == "r1"


async def test_replicas_are_known_before_a_request_asks(monkeypatch: pytest.MonkeyPatch):
    """Serve tells of them from the first handle on; a model that is deployed later is looked for until it is."""
    monkeypatch.setattr(route, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(running, "_running", {("model-demo", "Engine-demo"): ("r1",)})
    answers = [RayServeException("not deployed"), RayServeException("not deployed"), Handle()]

    def find(card: ModelCard) -> Handle:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    router = ServeRouter(find, "gateway", 1.0)
    assert not router.runs(CARD)
    await router.listen([CARD])
    assert router.runs(CARD)

"""The Keeper and its governor, as real actors of a Ray of their own. What a governor decides: `test_control.py`."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private import services
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError

from autoscaling.config import Config
from deployments.loopback import LOOPBACK, keep_to_loopback
from deployments.scaling.governor import Governor, Keeper
from deployments.scaling.locate import GOVERNOR, NAMESPACE, find_governor
from deployments.scaling.model import Member
from deployments.scaling.replicas import Serving
from tests.scaling.test_control import GPU

PATIENCE_S = 60.0  # only ends a test that has failed
SERVING = Serving(("demo-0",), 1, 1, 8)


class Watched:
    """A Keeper in a process of its own, and which one that is."""

    def __init__(self, *arguments: Any) -> None:
        self._keeper = Keeper(*arguments)

    async def check_health(self) -> None:
        await self._keeper.check_health()

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture(scope="module", autouse=True)
def a_ray() -> Iterator[None]:
    """Private: on loopback, in a folder of its own, which is short because sockets lie in it."""
    with (
        TemporaryDirectory(prefix="vlm-", ignore_cleanup_errors=True) as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(services, "resolve_ip_for_localhost", services.resolve_ip_for_localhost)  # put back afterwards
        keep_to_loopback()
        for name, value in {"RAY_TMPDIR": folder, "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": ""}.items():
            patch.setenv(name, value)
        ray.init("local", num_cpus=1, include_dashboard=False, _node_ip_address=LOOPBACK, log_to_driver=False)
        yield
        ray.shutdown()


def members(model: str) -> list[Member]:
    return [Member(model, GPU, 120.0)]


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[[str], ActorHandle[Any]]]:
    """Starts a Keeper, whose governor decides for this model, and waits until it is there."""
    kept: list[ActorHandle[Any]] = []

    def start(model: str) -> ActorHandle[Any]:
        keeper = ray.remote(num_cpus=0)(Watched).remote(members(model), None, Config(), tmp_path / "scaling.jsonl")
        kept.append(keeper)
        ray.get(keeper.pid.remote(), timeout=PATIENCE_S)
        return keeper

    yield start
    for keeper in kept:
        ray.kill(keeper)
    eventually(lambda: find_governor() is None)


def eventually(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.1)


def decides(model: str) -> bool:
    """Whether the governor that has the name knows this model."""
    governor = find_governor()
    try:
        return governor is not None and ray.get(governor.decide.remote(model, SERVING), timeout=5) is not None
    except RayError:
        return False


def test_a_keeper_brings_a_governor_and_takes_it_along(keep: Callable[[str], ActorHandle[Any]]):
    keeper = keep("demo")
    eventually(lambda: decides("demo"))
    os.kill(ray.get(keeper.pid.remote()), signal.SIGKILL)
    eventually(lambda: find_governor() is None)


def test_a_keeper_takes_the_name_from_a_governor_before_its_own(
    keep: Callable[[str], ActorHandle[Any]], tmp_path: Path
):
    """Its Keeper may live on for a while, or have been lost sight of: whoever comes last is the one."""
    before = (
        ray.remote(Governor)
        .options(name=GOVERNOR, namespace=NAMESPACE, num_cpus=0, max_restarts=-1)
        .remote(members("before"), None, Config(), tmp_path / "before.jsonl")
    )
    eventually(lambda: decides("before"))
    keep("demo")
    eventually(lambda: decides("demo"))
    with pytest.raises(RayActorError):
        ray.get(before.check.remote(), timeout=PATIENCE_S)


def test_of_two_keepers_the_one_that_was_ousted_says_so(keep: Callable[[str], ActorHandle[Any]]):
    """Serve then starts it anew, if it wants it still."""
    ousted = keep("demo")
    eventually(lambda: decides("demo"))
    keep("other")
    eventually(lambda: decides("other"))
    with pytest.raises(RayError, match="the governor has died"):
        ray.get(ousted.check_health.remote(), timeout=PATIENCE_S)


class Unavailable:
    """A governor that Ray is starting again, for ever."""

    @property
    def check(self) -> Any:
        return self

    async def remote(self) -> None:
        raise ray.exceptions.ActorUnavailableError("it restarts", b"0" * 16)


def test_a_governor_that_stays_away_is_given_up():
    """Soon it is on its way back; later the Keeper is unhealthy, and Serve starts another, perhaps on another node."""
    keeper: Any = SimpleNamespace(_governor=Unavailable(), _answered_s=time.monotonic())
    asyncio.run(Keeper.check_health(keeper))
    keeper._answered_s -= 31.0
    with pytest.raises(RuntimeError, match="does not come back"):
        asyncio.run(Keeper.check_health(keeper))

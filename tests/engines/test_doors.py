"""The doors of every engine: the paths of its server, what else of it listens, and what it was told of us.

Real engines on the CPU. Skipped where an environment is not installed: `make engine-vllm engine-lmdeploy engine-transformers`.
"""

import itertools
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psutil
import pytest

from catalog import ModelCard, load_catalog
from catalog.catalog import load_card
from deployments.engines.launch import Launch
from deployments.engines.server import EngineServer
from deployments.engines.started import LOOPBACK
from deployments.guard import descendants
from tests.models.internvl2 import run_in
from tests.models.running import environment_of, kept

pytestmark = pytest.mark.engine

CHECKOUT = Path(__file__).parents[2]
TINY = CHECKOUT / "tests" / "models"
CARDS = [
    load_catalog().find("demo-qwen2-vl"),
    load_catalog().find("demo-internvl2"),
    load_card(TINY / "tiny-smolvlm2.yaml"),
]
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH")
# What no list of routes tells, and other spellings of the one that is open.
UNLISTED = (
    "/metrics",
    "/metrics/",
    "/openapi.json",
    "/docs",
    "/redoc",
    "/",
    "/none",
    "/health/",
    "//health",
    "/HEALTH",
)
SECRETS = {"VLMFLEET_STORE": "postgresql://u:p@db/ledger", "AWS_SECRET_ACCESS_KEY": "aws", "HF_TOKEN": "hf"}


@dataclass(frozen=True)
class Engine:
    """A running server of one model."""

    card: ModelCard
    server: EngineServer
    token: str

    @property
    def processes(self) -> list[psutil.Process]:
        """The engine's, its guard left out."""
        assert self.server._process
        return [psutil.Process(pid) for pid in descendants(self.server._process.pid)]

    def client(self, token: str | None = None) -> httpx.Client:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.server.url, headers=headers, timeout=60)


@pytest.fixture(scope="module", params=CARDS, ids=lambda card: card.engine.name)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Started by somebody who knows secrets; it tells its routes, where it can."""
    card: ModelCard = request.param
    weights = _weights(card, tmp_path_factory.mktemp("weights"))
    with ExitStack() as until_it_ends:
        with pytest.MonkeyPatch.context() as ours:
            for name, value in SECRETS.items():
                ours.setenv(name, value)
            engine = until_it_ends.enter_context(kept(card, weights, _with_docs))
        yield Engine(card, engine.server, engine.token)


def _with_docs(launch: Launch) -> Launch:
    return replace(launch, command=tuple(word for word in launch.command if word != "--disable-fastapi-docs"))


def _weights(card: ModelCard, folder: Path) -> Path:
    if card.source.path and (CHECKOUT / card.source.path).is_dir():
        return CHECKOUT / card.source.path
    run_in(environment_of(card), TINY / "tiny_vlms", "smolvlm2", str(folder))
    return folder


def test_without_the_token_only_health_is_open(engine: Engine):
    """By every method, on every path that the server lists, and on those that it does not."""
    with engine.client(engine.token) as owner, engine.client() as stranger, engine.client("another") as other:
        listed = owner.get("/openapi.json")
        paths = {*UNLISTED, *(listed.json()["paths"] if listed.is_success else {"/v1/chat/completions": {}})} - {
            "/health"
        }
        opened = [
            (method, path)
            for method, path, caller in itertools.product(METHODS, paths, (stranger, other))
            if caller.request(method, path).status_code != 401
        ]
        assert opened == []
        assert stranger.get("/health").status_code == 200
        assert owner.get("/metrics").status_code == 200
    if engine.card.engine.name != "transformers":  # a list of three, which no path tells
        assert len(paths) > len(UNLISTED) + 10


def test_a_websocket_is_no_way_around(engine: Engine):
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    with engine.client() as stranger:
        assert stranger.get("/v1/realtime", headers=upgrade).status_code in (401, 403)


def test_only_its_port_listens(engine: Engine):
    """What its processes say to each other goes by sockets and pipes of their owner. vLLM's torch listens, too, where nobody
    has to connect: on loopback only.
    """
    connections = [each for process in engine.processes for each in process.net_connections()]
    listening = {each.laddr for each in connections if each.status == psutil.CONN_LISTEN}
    assert {address.ip for address in listening} == {LOOPBACK}
    if engine.card.engine.name != "vllm":
        assert {address.port for address in listening} == {int(engine.server.url.rpartition(":")[2])}


def test_its_unix_sockets_are_its_owners(engine: Engine):
    """Whoever may write to a socket, or enter its folder, can connect."""
    sockets = {
        Path(each.laddr) for process in engine.processes for each in process.net_connections("unix") if each.laddr
    }
    for file in (each for each in sockets if each.exists()):
        may_write = stat.S_IMODE(file.stat().st_mode) & (stat.S_IWGRP | stat.S_IWOTH)
        may_enter = stat.S_IMODE(file.parent.stat().st_mode) & (stat.S_IXGRP | stat.S_IXOTH)
        assert not (may_write and may_enter), file


def test_it_knows_no_secret_of_ours(engine: Engine):
    """And nobody can read its token: command lines are open to every user of the machine."""
    for process in engine.processes:
        assert SECRETS.keys().isdisjoint(process.environ())
        assert engine.token not in " ".join(process.cmdline())

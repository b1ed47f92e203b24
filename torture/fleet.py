"""Gateways, writers and an engine: real processes on loopback, each started again when it is killed."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from accounting.price import Price
from catalog import ModelCard
from deployments.port import free_port
from torture import engine, gateway, writer
from torture.plan import Role
from torture.resident import Resident
from torture.writer import Where

HOST = "127.0.0.1"
READY_WITHIN_S = 20.0
POLL_S = 0.01

Failpoints = dict[Role, str | None]


class NotReady(Exception):
    """A part did not start. The message says where its log is."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a fleet is made of."""

    where: Where
    card: ModelCard
    price: Price
    gateways: int
    writers: int


class Fleet:
    """`folder` gets the logs. The writers' clock is `late_ms` ahead."""

    def __init__(self, parts: Parts, folder: Path, late_ms: int = 0) -> None:
        self._folder = folder
        addresses = [folder / f"writer-{number}.json" for number in range(parts.writers)]
        engine_port, *ports = free_ports(HOST, 1 + parts.gateways)
        engine_url = f"http://{HOST}:{engine_port}"
        self.urls = [f"http://{HOST}:{port}" for port in ports]
        self._writers = [
            Resident(writer.serve, parts.where, HOST, address, late_ms, log=address.with_suffix(".log"))
            for address in addresses
        ]
        self._engines = [Resident(engine.serve, HOST, engine_port, log=folder / "engine.log")]
        self._gateways = [
            Resident(
                gateway.serve,
                HOST,
                port,
                parts.card,
                parts.price,
                addresses[number % parts.writers],
                engine_url,
                log=folder / f"gateway-{number}.log",
            )
            for number, port in enumerate(ports)
        ]

    async def start(self, failpoints: Failpoints) -> None:
        """Start everything, the first process of each role with its failpoint. Raises `NotReady`."""
        for role, residents in self._by_role():
            for number, resident in enumerate(residents):
                resident.start(failpoints.get(role) if number == 0 else None)
        await self._ready()

    async def stop(self) -> None:
        """Let the gateways hand over what they owe, then kill the rest."""
        await asyncio.gather(*(resident.stop(signal.SIGTERM) for resident in self._gateways))
        await self.kill()

    async def kill(self) -> None:
        """`kill -9` to everything."""
        await asyncio.gather(*(resident.stop() for _, residents in self._by_role() for resident in residents))

    def kills(self, role: Role) -> int:
        """How many processes of a role were killed on the way."""
        return sum(resident.kills for of, residents in self._by_role() if of is role for resident in residents)

    @property
    def crashed(self) -> bool:
        """Whether a process ended by itself, or would not end."""
        return any(resident.crashed for _, residents in self._by_role() for resident in residents)

    def _by_role(self) -> Iterator[tuple[Role, list[Resident]]]:
        yield Role.WRITER, self._writers
        yield Role.ENGINE, self._engines
        yield Role.GATEWAY, self._gateways

    async def _ready(self) -> None:
        async with aiohttp.ClientSession() as http:
            try:
                async with asyncio.timeout(READY_WITHIN_S):
                    await asyncio.gather(*(_answers(http, f"{url}/readyz") for url in self.urls))
            except TimeoutError:
                raise NotReady(
                    f"a gateway is not ready after {READY_WITHIN_S} s; the logs are in {self._folder}"
                ) from None


async def _answers(http: aiohttp.ClientSession, url: str) -> None:
    while True:
        with suppress(aiohttp.ClientError):
            async with http.get(url) as response:
                if response.status == 200:
                    return
        await asyncio.sleep(POLL_S)


def free_ports(host: str, number: int) -> list[int]:
    """So many different ports of `host` that nothing listens on."""
    ports: set[int] = set()
    while len(ports) < number:
        ports.add(free_port(host))
    return list(ports)

"""What a gateway looks at now and then, from its real queues, ledger client and cache."""

import asyncio

import pytest

from accounting.questions import FleetTotals
from deployments.gateway.forming import Forming, demand_of
from deployments.gateway.media.cache import Cache
from deployments.gateway.metrics_levels import TABLE, Levels
from deployments.metric import Instruments, Metric
from tests.gateway.house import CARD, WORK, House

MODEL = CARD.served_name


class Recorded(Instruments):
    """The last value of each gauge, and the sum of each counter. Ray's own cannot be read without a cluster."""

    def __init__(self) -> None:
        super().__init__(TABLE)
        self.gauges: dict[tuple[str, ...], float] = {}
        self.counts: dict[tuple[str, ...], int] = {}

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        super().set(metric, value, *labels)
        self.gauges[metric.name, *labels] = value

    def count(self, metric: Metric, amount: int, *labels: str) -> None:
        super().count(metric, amount, *labels)
        self.counts[metric.name, *labels] = self.counts.get((metric.name, *labels), 0) + amount


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def levels(recorded: Recorded, house: House, forming: Forming | None = None, cache: Cache[str] | None = None) -> Levels:
    return Levels(
        recorded,
        forming or house.chat.forming,
        house.ledger,
        cache or Cache(100),
        {CARD.id: MODEL},
        {MODEL: 7.0}.__getitem__,
    )


async def test_a_queue_is_told_by_model(house: House, recorded: Recorded):
    """What is with the engines, what waits, and under which budget."""
    forming = Forming(lambda _: 1)
    former = forming.of(CARD)
    demand = demand_of(WORK, "tenant", is_batch=False)
    async with former.turn(demand, 1.0):
        levels(recorded, house, forming).look()
    assert recorded.gauges["vlmfleet_running_requests", MODEL] == 1
    assert recorded.gauges["vlmfleet_running_tokens", MODEL] == demand.tokens
    assert recorded.gauges["vlmfleet_budget_tokens", MODEL] == former.load().budget_tokens
    assert recorded.gauges["vlmfleet_waiting_requests", MODEL] == 0


async def hung_up(house: House) -> None:
    """The gateway has noticed that the writer is gone."""
    async with asyncio.timeout(10):
        while house.ledger.connected:  # noqa: ASYNC110  # the client tells nobody
            await asyncio.sleep(0)


async def test_the_ledgers_connection_is_told(house: House, recorded: Recorded):
    """1 while there is one, 0 when the writer has gone."""
    await house.ledger.ask(FleetTotals())
    looking = levels(recorded, house)
    looking.look()
    assert recorded.gauges["vlmfleet_ledger_connected",] == 1
    await house.writer.stop()
    await hung_up(house)
    looking.look()
    assert recorded.gauges["vlmfleet_ledger_connected",] == 0
    await house.writer.start()


def test_how_long_nobody_has_decided_is_told_by_model(house: House, recorded: Recorded):
    levels(recorded, house).look()
    assert recorded.gauges["vlmfleet_undecided_seconds", MODEL] == 7.0


async def test_what_only_grows_is_counted_once(house: House, recorded: Recorded):
    """A look adds what has come since the last one."""
    cache: Cache[str] = Cache(100)

    async def made() -> bytes:
        return b"1234"

    looking = levels(recorded, house, cache=cache)
    for _ in range(3):
        await cache.get("image", made)
        looking.look()
    looking.look()
    assert recorded.counts["vlmfleet_media_cache_misses",] == 1
    assert recorded.counts["vlmfleet_media_cache_hits",] == 2
    assert recorded.gauges["vlmfleet_media_cache_bytes",] == 4

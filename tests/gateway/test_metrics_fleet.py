"""The fleet's exposition, and the last hour that it is made of."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from accounting.command import Sample
from accounting.store import Snapshot, Total
from deployments.gateway.metrics_fleet import TABLE, exposition
from deployments.gateway.metrics_hour import Hour, replicas_by_state
from tests.gateway.client import Client
from tests.gateway.house import CARD, House, question

COMPLETE = Total(
    model="demo",
    outcome="complete",
    requests=3,
    images=4,
    vision_tokens=64,
    text_tokens=90,
    output_tokens=12,
    charged_nano=40_000,
)
VOID = Total(
    model="demo",
    outcome="engine_failed",
    requests=1,
    images=1,
    vision_tokens=16,
    text_tokens=0,
    output_tokens=0,
    charged_nano=0,
)
HOUR = Hour(
    mismatch_ratios={"m": 0.25},
    replicas={("m", "loading"): 1},
    starts={("m", "failed"): 2},
    start_s_max={"m": 61.5},
    gpu_nano={("m", "idle"): 2 * 10**9},
    gpu_s={("m", "idle"): 3600.0},
    revenue_nano={"m": 10**9},
)
LINES = exposition(Snapshot(totals=(COMPLETE, VOID), holds_open=2, reserved_nano=20_000), HOUR).decode().splitlines()
SECOND_MS = 1_000
RENT_NANO = 36 * 10**9  # a cent a second


@pytest.mark.parametrize(
    "line",
    [
        'vlmfleet_fleet_requests_total{model="demo",outcome="complete"} 3',
        'vlmfleet_fleet_requests_total{model="demo",outcome="engine_failed"} 1',
        'vlmfleet_fleet_revenue_usd_total{model="demo",outcome="complete"} 4e-05',
        "vlmfleet_holds_open 2",
        "vlmfleet_reserved_usd 2e-05",
        'vlmfleet_witness_mismatch_ratio{model="m"} 0.25',
        'vlmfleet_replicas{model="m",category="loading"} 1',
        'vlmfleet_hour_starts{model="m",outcome="failed"} 2',
        'vlmfleet_hour_start_seconds_max{model="m"} 61.5',
        'vlmfleet_hour_gpu_seconds{model="m",category="idle"} 3600',
        'vlmfleet_hour_gpu_usd{model="m",category="idle"} 2',
        'vlmfleet_hour_revenue_usd{model="m"} 1',
    ],
)
def test_amounts_are_in_base_units(line: str):
    """Dollars and seconds, by model and what became of them."""
    assert line in LINES


def test_every_sample_follows_its_help_and_type():
    """Prometheus' own parser finds every metric of the table, with its type and labels, and no other."""
    families = list(text_string_to_metric_families("\n".join(LINES) + "\n"))
    assert {family.name for family in families} == {each.name.removesuffix("_total") for each in TABLE}
    labels = {each.name.removesuffix("_total"): set(each.labels) for each in TABLE}
    assert all(set(value.labels) == labels[family.name] for family in families for value in family.samples)
    assert exposition(Snapshot(totals=(), holds_open=0, reserved_nano=0), Hour()).endswith(b"\n")


def sample(replica: str, state: str, at_ms: int, epoch: str = "e1") -> Sample:
    return Sample(
        replica_id=replica,
        epoch=epoch,
        model=CARD.served_name,
        at_ms=at_ms,
        state=state,
        rent_nano_per_hour=RENT_NANO,
        slots_held=0,
        in_flight=0,
        prompt_tokens=0,
        output_tokens=0,
    )


def test_a_replica_counts_in_the_state_that_it_told_last():
    """One that ended, or was not heard of for half a minute, does not count."""
    now_ms = 100 * SECOND_MS
    samples = [
        sample("a", "loading", 80 * SECOND_MS),
        sample("a", "ready", 95 * SECOND_MS),
        sample("b", "loading", 91 * SECOND_MS),
        sample("c", "ended", 95 * SECOND_MS),
        sample("d", "ready", 60 * SECOND_MS),
    ]
    assert replicas_by_state(samples, now_ms) == {(CARD.served_name, "ready"): 1, (CARD.served_name, "loading"): 1}


async def told(house: House) -> dict[tuple[str, ...], float]:
    """What `/metrics` answers, by name and the values of the labels."""
    client = await Client(key=house.admin_key, path="/metrics", method="GET").ask(house.app)
    values = (value for family in text_string_to_metric_families(client.body.decode()) for value in family.samples)
    return {(value.name, *value.labels.values()): value.value for value in values}


async def test_the_seconds_of_a_replica_are_told_by_purpose(house: House):
    """It fetched weights and loaded for ten seconds, one start, and stood idle for twenty; a cent each second."""
    model, began_ms = CARD.served_name, house.clock.ms + 3_600_000
    await house.do(
        sample("r", "loading", began_ms, epoch=""),
        sample("r", "loading", began_ms + 4 * SECOND_MS),
        sample("r", "ready", began_ms + 10 * SECOND_MS),
        sample("r", "ended", began_ms + 30 * SECOND_MS),
    )
    house.clock.ms = began_ms + 60 * SECOND_MS
    values = await told(house)
    assert values["vlmfleet_hour_gpu_usd", model, "cold"] == pytest.approx(0.1)
    assert values["vlmfleet_hour_gpu_usd", model, "idle"] == pytest.approx(0.2)
    assert values["vlmfleet_hour_starts", model, "ready"] == 1
    assert ("vlmfleet_hour_starts", model, "failed") not in values
    assert values["vlmfleet_hour_start_seconds_max", model] == 10
    assert values["vlmfleet_replicas", model, "ready"] == 0


async def test_a_start_that_never_got_ready_is_told(house: House):
    """Its samples ended while it was loading."""
    began_ms = house.clock.ms + 3_600_000
    await house.do(sample("r", "loading", began_ms), sample("r", "ended", began_ms + 20 * SECOND_MS))
    house.clock.ms = began_ms + 60 * SECOND_MS
    assert (await told(house))["vlmfleet_hour_starts", CARD.served_name, "failed"] == 1


async def test_revenue_is_told_by_model(house: House):
    """Beside the totals since the ledger began."""
    await house.ask(question())
    house.clock.ms += 120 * SECOND_MS
    values = await told(house)
    assert values["vlmfleet_fleet_requests_total", CARD.served_name, "complete"] == 1
    assert values["vlmfleet_fleet_revenue_usd_total", CARD.served_name, "complete"] > 0

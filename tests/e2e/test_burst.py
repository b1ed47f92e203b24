"""Two models share four GPUs: a burst for one takes one from the other, and gives all of them back; faults lose no request."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from demo.generate import HELD_OUT_SEED, examples
from tests.e2e.cluster import wait_until
from tests.e2e.load import Question, offering, questions
from tests.e2e.rendered import Fleet, Folders, card, one_pool, running
from tests.e2e.test_operating import vlm

pytestmark = pytest.mark.engine

GPUS = 4
POOL = "transformers-l4"
FLEET = one_pool(GPUS, deadline_s=300)
# A second of a replica for each request: three a second need four replicas, which no model gets.
WORK = {"request_s": 1.0, "vision_token_s": 0.0, "text_token_s": 0.0, "output_token_s": 0.0}
BURST, STEADY = "demo-burst", "demo-steady"
RATE = 3.0
CARDS = {
    BURST: card(BURST, "L4", autoscaling={"replicas_min": 0, "replicas_max": 3, "start_s": 20.0, "work": WORK}),
    STEADY: card(STEADY, "L4", autoscaling={"replicas_min": 1, "replicas_max": 3, "start_s": 20.0, "work": WORK}),
}
# A fleet that learns in days is watched for minutes.
PATIENCE_S = 600.0
SIGNAL_AGE_S = 2.0
HASTE = {"late_start_s": 5, "watch_s": 10}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Four nodes with a GPU each, and a replica on one."""
    folders = Folders(*(tmp_path_factory.mktemp(name) for name in ("overlay", "cards", "home")))
    (folders.overlay / "fleet.yaml").write_text(FLEET)
    folders.render(CARDS, **HASTE)
    with running(folders) as started:
        for _ in range(GPUS - 1):
            started.do("add", POOL)
        started.deploy()
        yield started


@pytest.fixture(scope="module")
def asked(fleet: Fleet) -> list[Question]:
    return questions(fleet.url, fleet.key, STEADY, list(examples(HELD_OUT_SEED, 30)))


def replicas(fleet: Fleet) -> dict[str, int]:
    placed = fleet.do("placement")
    return {model: len(placed.get(f"Engine-{model}", [])) for model in CARDS}


def rows(fleet: Fleet, model: str) -> list[dict]:
    return vlm(fleet.cluster, "scaling", "explain", model, "--limit", "1000")["data"]


def times(fleet: Fleet, model: str) -> list[int]:
    """Of the decisions that are explained, the newest first."""
    return [row["at"] for row in rows(fleet, model)]


def test_a_burst_takes_a_gpu_from_who_does_not_need_it_and_faults_lose_nothing(fleet: Fleet, asked: list[Question]):
    """The other model's load ends, three nodes start replicas for the burst, one of them dies, and so does the governor."""
    with offering(fleet.url, fleet.key, STEADY, asked, RATE) as steady:
        wait_until(lambda: replicas(fleet)[STEADY] >= 2, PATIENCE_S)
    assert replicas(fleet)[BURST] == 0

    with offering(fleet.url, fleet.key, BURST, asked, RATE) as burst:
        wait_until(lambda: replicas(fleet)[BURST] >= 1, PATIENCE_S)
        explained = times(fleet, STEADY)[1:]  # the latest is not kept if it is like the one before
        fleet.do("kill_governor")
        fleet.do("kill", POOL)
        fleet.do("add", POOL)
        wait_until(lambda: replicas(fleet) == {BURST: 3, STEADY: 1}, PATIENCE_S)
        enough = burst.asked + 20
        wait_until(lambda: burst.asked >= enough, PATIENCE_S)

    assert (steady.wrong, steady.errors) == ([], [])
    assert burst.wrong == []
    assert all("Nothing was charged" in error for error in burst.errors), burst.errors
    wait_until(lambda: fleet.open_holds() == 0)
    wait_until(lambda: replicas(fleet) == {BURST: 0, STEADY: 1}, PATIENCE_S)
    assert set(explained) <= set(times(fleet, STEADY))


def test_what_is_granted_never_exceeds_the_gpus(fleet: Fleet, asked: list[Question]):
    """At any decision, by the rows of both models."""
    changes = sorted((row["at"], row["model"], row["replicas"]) for model in CARDS for row in rows(fleet, model))
    assert len(changes) > 10
    now: dict[str, int] = {}
    for (at, model, count), (next_at, *_) in pairwise([*changes, (2**60, "", 0)]):
        now[model] = count
        assert next_at == at or sum(now.values()) <= GPUS


def test_signals_are_young(fleet: Fleet, asked: list[Question]):
    """By the rows, which say how old the oldest signal was: those that a dead governor missed left none."""
    ages = sorted(row["facts"]["signal_age_s"] for model in CARDS for row in rows(fleet, model))
    assert ages[len(ages) * 99 // 100] <= SIGNAL_AGE_S


def test_every_decision_is_explained(fleet: Fleet, asked: list[Question]):
    assert all(row["words"] for model in CARDS for row in rows(fleet, model))


def test_the_ledger_verifies_afterwards(fleet: Fleet, asked: list[Question]):
    assert fleet.verified() == "every invariant holds\n"

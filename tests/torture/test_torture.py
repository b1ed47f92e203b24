"""`kill -9` at every failpoint, on both stores: nothing lost, nothing doubled, nothing over the cap."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from torture import main
from torture.place import Place, PostgresPlace, SqlitePlace
from torture.plan import AFFORDABLE, CLIENTS, DATABASE, POINTS, Client, Habit, Plan, Role, plan_of
from torture.trial import CAP_NANO, run_plan

DOZEN = range(len(POINTS))
# Writers that share a server die in other ways than one with a file.
ON_POSTGRES = [
    number
    for number, point in enumerate((*POINTS, DATABASE))
    if point.role in (Role.WRITER, Role.SWEEPER, Role.DATABASE)
]
TRIES = 3
PATIENT = tuple(Client(f"client-{number}", Habit.WAITS, number % 2 == 0, 0) for number in range(CLIENTS))


def early(plan: Plan) -> Plan:
    """However slow the machine, so many passings there are."""
    return replace(plan, deaths=tuple(replace(death, passing=min(death.passing, 4)) for death in plan.deaths))


def torture_until_it_died(seed: int, place: Callable[[], Place]) -> None:
    """No run may have a fault. Where other work holds a machine up, a fleet may end before the seed's death was due: so it runs
    anew. A second death is due when it is due.
    """
    for _ in range(TRIES):
        made = place()
        found = run_plan(early(plan_of(seed, made.points)), made)
        assert found.faults == ()
        if found.plan.deaths[0] in found.died:
            return
    raise AssertionError(f"in {TRIES} runs {found.plan.deaths[0]} never came about")


@pytest.mark.parametrize("seed", DOZEN, ids=lambda seed: POINTS[seed].title)
def test_whoever_dies_everyone_pays_for_what_they_saw(seed: int):
    torture_until_it_died(seed, SqlitePlace)


@pytest.mark.parametrize("seed", ON_POSTGRES, ids=lambda seed: (*POINTS, DATABASE)[seed].title)
def test_the_same_on_postgresql(seed: int, postgres: Callable[[], str]):
    torture_until_it_died(seed, lambda: PostgresPlace(postgres()))


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_four_gateways_admit_64_clients_to_exactly_the_40_answers_of_the_budget(
    store: str, request: pytest.FixtureRequest
):
    place = SqlitePlace() if store == "sqlite" else PostgresPlace(request.getfixturevalue("postgres_url"))
    found = run_plan(Plan(0, (), PATIENT), place, gateways=4)
    assert found.faults == ()
    assert (found.answered, found.charged_nano) == (AFFORDABLE, CAP_NANO)
    # One more asks afterwards: in vain, too.
    assert found.refused == CLIENTS - AFFORDABLE + 1


def test_the_command_says_what_happened(capsys: pytest.CaptureFixture[str]):
    assert main(["--seeds", "1", "--first", "1"]) == 0
    told = capsys.readouterr().out
    assert "seed 1: kill -9 at hold.acked" in told
    assert "1 seeds, 1 deaths, 0 seeds with a fault" in told

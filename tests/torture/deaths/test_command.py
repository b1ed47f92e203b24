import io

from rich.console import Console

from torture.deaths.command import line, summary
from torture.deaths.plan import plan_of
from torture.deaths.recovery import Recovery
from torture.deaths.victim import VICTIMS

KILLS = plan_of([0, 1], VICTIMS)


def told(recoveries: list[Recovery]) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(summary(recoveries))
    return out.getvalue().splitlines()


def test_the_table_has_median_and_greatest_by_what_was_killed_in_80_columns():
    recoveries = [
        Recovery(kill, number, 20.0 + number, 1, ()) for number, kill in enumerate([KILLS[0], KILLS[len(KILLS) // 2]])
    ]
    lines = told([*recoveries, *(Recovery(kill, 5.0, 6.0, 0, ()) for kill in KILLS)])
    assert all(len(line) <= 80 for line in lines)
    (row,) = [line.split() for line in lines if line.startswith(" gateway ") and "+" not in line]
    assert row == ["gateway", "4", "3.0", "5.0", "21.0", "2", "0"]
    assert sum(" + " in line for line in lines) == 28


def test_a_fault_is_said_below_its_kill():
    recovery = Recovery(KILLS[0], 60.0, 120.2, 7, ("no gateway came back",))
    head, fault = line(recovery).splitlines()
    assert "gateway: answers again after 60.0 s" in head
    assert "no gateway came back" in fault

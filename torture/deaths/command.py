"""`vlmfleet torture`: kill everything in a fleet that can be killed, alone and in pairs, and see it come back."""

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterable, Sequence

import aiohttp
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from torture.deaths.callers import Callers
from torture.deaths.house import DEADLINE_S, MODELS, House, NotReady, running
from torture.deaths.plan import Kill, plan_of
from torture.deaths.recovery import Recovery, Watch
from torture.deaths.victim import VICTIMS

CAPTION = "again: from the last death until every caller had answers. back: until nothing was missing. lost: requests."
# A gateway that died leaves holds: their deadline, half a minute, and the sweeper's second.
CLOSED_WITHIN_S = DEADLINE_S + 45.0


def main(argv: Sequence[str]) -> int:
    """Carry out the kills that `argv` asks for. Returns 1 if one of them left a fault."""
    arguments = _parser().parse_args(argv)
    victims = [victim for victim in VICTIMS if not arguments.only or victim.name in arguments.only]
    plan = plan_of(range(arguments.first, arguments.first + arguments.times), victims)
    console = Console(highlight=False, emoji=False)
    console.print(f"{len(plan)} kills, each under load; a fleet of two nodes starts first")
    try:
        return asyncio.run(_carry_out(plan, console))
    except NotReady as error:
        console.print(f"[red]{error}[/]")
        return 1


async def _carry_out(plan: Sequence[Kill], console: Console) -> int:
    """Raises `NotReady`."""
    async with running() as house, aiohttp.ClientSession() as http:
        console.print(f"it runs; its logs are in {house.folder}", soft_wrap=True)
        callers = Callers(house.url, house.key, MODELS)
        asking = asyncio.create_task(callers.ask())
        recoveries = await _kill_all(plan, Watch(house, callers, http), console)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        left_open = await _holds_at_rest(house)
    console.print(summary(recoveries))
    faulty = sum(bool(recovery.faults) for recovery in recoveries)
    console.print(f"{len(recoveries)} of {len(plan)} kills, {faulty} with a fault, {left_open} holds open at rest")
    return int(faulty > 0 or left_open > 0)


async def _kill_all(plan: Sequence[Kill], watch: Watch, console: Console) -> list[Recovery]:
    """Ends early where the fleet has not come back: what is killed after that tells nothing."""
    recoveries: list[Recovery] = []
    for kill in plan:
        recovery = await watch.carry_out(kill)
        console.print(line(recovery), soft_wrap=True)
        recoveries.append(recovery)
        if recovery.back_s > recovery.kill.back_within_s:
            break
    return recoveries


async def _holds_at_rest(house: House) -> int:
    """Holds that stay open although nobody asks any more."""
    until_s = time.monotonic() + CLOSED_WITHIN_S
    while (holds := house.open_holds()) and time.monotonic() < until_s:  # noqa: ASYNC110  # a ledger tells nobody
        await asyncio.sleep(1)
    return holds


def line(recovery: Recovery) -> str:
    """A kill in one line, and one more for each fault."""
    mark = "[red]✗[/]" if recovery.faults else "[green]✓[/]"
    head = (
        f"{mark} {recovery.kill}: answers again after {recovery.again_s:.1f} s, back after {recovery.back_s:.1f} s, "
        f"{recovery.lost} lost"
    )
    return "\n".join([head, *(f"  [red]{escape(fault)}[/]" for fault in recovery.faults)])


def summary(recoveries: Iterable[Recovery]) -> Table:
    """By what was killed, both orders of a pair together."""
    rows: dict[str, list[Recovery]] = {}
    for recovery in recoveries:
        rows.setdefault(recovery.kill.name, []).append(recovery)
    table = Table(
        title="From death to answers, in seconds",
        caption=CAPTION,
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        width=80,
    )
    table.add_column("killed", no_wrap=True)
    for column in ("times", "again median", "again max", "back max", "lost", "faults"):
        table.add_column(column, justify="right")
    for name, found in rows.items():
        again_s = [recovery.again_s for recovery in found]
        table.add_row(
            name,
            str(len(found)),
            f"{statistics.median(again_s):.1f}",
            f"{max(again_s):.1f}",
            f"{max(recovery.back_s for recovery in found):.1f}",
            str(sum(recovery.lost for recovery in found)),
            str(sum(len(recovery.faults) for recovery in found)),
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vlmfleet torture",
        description="Kill everything in a fleet of its own, alone and in pairs, under load, and see it come back.",
    )
    parser.add_argument("--times", type=int, default=10, help="how often each (default: 10)")
    parser.add_argument("--first", type=int, default=0, metavar="ROUND", help="the first round (default: 0)")
    parser.add_argument(
        "--only",
        action="append",
        choices=[victim.name for victim in VICTIMS],
        help="only this one, and pairs of those named; may be given again",
    )
    return parser

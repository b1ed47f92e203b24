"""One seed: a fleet is killed while it serves its clients; then it comes back, and everyone is asked what they saw."""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from accounting.budget import Period
from accounting.command import AddKey, AddPrice, Grant, SetBudget
from accounting.key import Scope, mint
from accounting.price import ImageWork, Price, Work, quote
from catalog import ModelCard, load_catalog
from deployments.gateway.bill import WITHHELD
from torture.audit import Rates, Row, Verdict, judge
from torture.client import OUTPUT_TOKENS, RETURNS_MAX, Desk, Witness
from torture.fleet import Fleet, Parts
from torture.place import Place
from torture.plan import AFFORDABLE, Client, Death, Habit, Plan, Role
from torture.writer import Where, open_late

GATEWAYS = 2
CARD = "demo-qwen2-vl"
RATES = Rates(base_nano=1_000_000, token_nano=50_000)
ANSWER_NANO = RATES.base_nano + OUTPUT_TOKENS * RATES.token_nano
CAP_NANO = AFFORDABLE * ANSWER_NANO
# A late client that fails for another reason than the cap (the writer dies, a machine is slow) is followed by another.
LATE_FAILURES_MAX = 20
# Past every hold's expiry: the longest deadline and half a minute.
LATE_MS = 3_600_000
FOREVER_MS = 2**53
ENTRIES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Findings:
    """What became of a seed. `died` are the failpoints that were reached."""

    plan: Plan
    died: tuple[Death, ...]
    verdicts: Counter[Verdict]
    answered: int
    refused: int
    charged_nano: int
    faults: tuple[str, ...]
    took_s: float


def run_plan(plan: Plan, place: Place, gateways: int = GATEWAYS) -> Findings:
    """Carry a plan out on an empty ledger. If there is a fault, the ledger and the logs are kept, and it says where.

    Raises `NotReady`.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{plan.seed}-"))
    with place.empty(folder) as where:
        found = asyncio.run(Trial(plan, place, where, folder, open_ledger(where), gateways).run())
    if found.faults:
        return replace(found, faults=(*found.faults, f"logs are kept in {folder}"))
    shutil.rmtree(folder)
    return found


@dataclass(slots=True)
class Trial:
    """One seed on one ledger. `folder` gets the logs."""

    plan: Plan
    place: Place
    where: Where
    folder: Path
    key: str
    gateways: int
    database_killed: bool = False

    async def run(self) -> Findings:
        """Serve, kill, recover, judge. Raises `NotReady`."""
        started_s = time.monotonic()
        served = Fleet(self._parts(self.gateways), self.folder)
        witnesses = await self._serve(served)
        after = Fleet(self._parts(1), self.folder, LATE_MS)
        witnesses += await self._spend_the_rest(after, witnesses)
        return self._findings(served, after, witnesses, time.monotonic() - started_s)

    def _parts(self, gateways: int) -> Parts:
        return Parts(self.where, card(), price(), gateways, self.place.writers)

    async def _serve(self, fleet: Fleet) -> list[Witness]:
        """All clients, and the deaths in between."""
        deaths = {role: self.plan.death_of(role) for role in (Role.GATEWAY, Role.WRITER, Role.ENGINE)}
        try:
            await fleet.start(deaths)
            async with _http() as http:
                desk = Desk(http, fleet.urls, self.key, CARD)
                kill = asyncio.create_task(self._kill_the_database())
                witnesses = await asyncio.gather(
                    *(desk.serve(client, turn) for turn, client in enumerate(self.plan.clients))
                )
                await kill
            await fleet.stop()
        finally:
            await fleet.kill()
        return witnesses

    async def _kill_the_database(self) -> None:
        for death in self.plan.deaths:
            if death.point.role is Role.DATABASE:
                await asyncio.sleep(death.passing / 100)
                self.database_killed = await asyncio.to_thread(self.place.kill)

    async def _spend_the_rest(self, fleet: Fleet, witnesses: list[Witness]) -> list[Witness]:
        """An hour later: what was left open has been swept, and every nano-dollar of it can be spent."""
        try:
            await fleet.start({Role.WRITER: self.plan.death_of(Role.SWEEPER)})
            async with _http() as http:
                desk = Desk(http, fleet.urls, self.key, CARD)
                for witness in witnesses:
                    if witness.client.habit is Habit.RETURNS and not witness.answered:
                        await desk.come_back(witness, 0, RETURNS_MAX)
                late = []
                for number in range(AFFORDABLE + 1 + LATE_FAILURES_MAX):
                    late.append(await desk.serve(_late_client(number), 0))
                    if late[-1].refused:
                        break
            await fleet.stop()
        finally:
            await fleet.kill()
        return late

    def _findings(self, served: Fleet, after: Fleet, witnesses: list[Witness], took_s: float) -> Findings:
        with closing(open_late(self.where, LATE_MS)) as store:
            faults = [f"{fault.check}: {fault.detail}" for fault in store.verify()]
            open_holds = store.snapshot().holds_open
            refunds = {
                entry.ref: entry.amount_nano
                for entry in store.entries(0, ENTRIES_MAX)
                if (entry.kind, entry.account) == ("refund", "revenue")
            }
            rows = [_row(record, refunds) for record in store.ended_requests(0, FOREVER_MS)]
        died = self._died(served, after)
        judgement = judge(witnesses, rows, RATES, died=frozenset(death.point.role for death in died))
        faults += judgement.faults
        charged_nano = sum(row.charged_nano for row in rows)
        if open_holds:
            faults.append(f"{open_holds} holds are open at rest")
        if not 0 <= CAP_NANO - charged_nano < ANSWER_NANO:
            faults.append(f"{charged_nano} of the cap of {CAP_NANO} was charged: above it, or room for more was lost")
        if served.crashed or after.crashed:
            faults.append("a process ended that nobody had killed")
        return Findings(
            self.plan,
            died,
            judgement.verdicts,
            sum(witness.answered for witness in witnesses),
            sum(witness.refused for witness in witnesses),
            charged_nano,
            tuple(faults),
            took_s,
        )

    def _died(self, served: Fleet, after: Fleet) -> tuple[Death, ...]:
        """The deaths of the plan that came to pass."""
        kills = {role: served.kills(role) for role in (Role.GATEWAY, Role.WRITER, Role.ENGINE)}
        kills |= {Role.SWEEPER: after.kills(Role.WRITER), Role.DATABASE: int(self.database_killed)}
        return tuple(death for death in self.plan.deaths if kills[death.point.role])


def open_ledger(where: Where) -> str:
    """Make a ledger with a price, a key and room for `AFFORDABLE` answers, both in credit and in a budget. Returns the
    key.
    """
    key, record = mint("org", "project", "torture", (Scope.INFERENCE,))
    with closing(open_late(where, 0)) as store:
        store.apply(
            [
                AddPrice(price()),
                AddKey(record),
                Grant(ref="torture", account=record.credit_account, amount_nano=CAP_NANO),
                SetBudget(scope=f"key:{record.id}", period=Period.LIFETIME, limit_nano=CAP_NANO),
            ]
        )
    return key


def card() -> ModelCard:
    """The model that everybody asks."""
    found = load_catalog().find(CARD)
    assert found
    return found


def price() -> Price:
    """A hold costs what a whole answer does, and an answer that ends early less."""
    made = Price(
        model=CARD,
        version=1,
        unit_nano=RATES.base_nano,
        batch_unit_nano=RATES.base_nano,
        output_token_nano=RATES.token_nano,
    )
    assert (
        quote(made, Work(images=(ImageWork(1),), text_tokens=0, output_tokens=OUTPUT_TOKENS)).amount_nano == ANSWER_NANO
    )
    return made


def _late_client(number: int) -> Client:
    return Client(f"late-{number}", Habit.WAITS, streams=False, starts_after_s=0)


def _row(record: dict[str, Any], refunds: dict[str, int]) -> Row:
    given_back_nano = refunds.get(f"{WITHHELD}:{record['request_id']}", 0)
    return Row(
        record["request_id"],
        record["user_id"],
        record["outcome"],
        record["hold_nano"],
        record["charged_nano"] - given_back_nano,
        given_back_nano,
    )


def _http() -> aiohttp.ClientSession:
    """A connection for each request, as many as it takes."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))

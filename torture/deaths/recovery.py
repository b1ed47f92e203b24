"""What became of a kill."""

import asyncio
import time
from dataclasses import dataclass

import aiohttp

from torture.deaths import process
from torture.deaths.call import answered_again_s
from torture.deaths.callers import Callers
from torture.deaths.house import MODELS, House
from torture.deaths.plan import Kill
from torture.deaths.victim import Victim

# No failure for so long: then it is over.
QUIET_S = 3.0
POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Recovery:
    """`again_s`: from the last death until all callers had answers again, and went on to have them. `lost` are the requests
    in between that failed. `back_s`: until everything was in its place.
    """

    kill: Kill
    again_s: float
    back_s: float
    lost: int
    faults: tuple[str, ...]


class Watch:
    """One kill of a fleet that is asked all the time."""

    def __init__(self, house: House, callers: Callers, http: aiohttp.ClientSession) -> None:
        self._house = house
        self._callers = callers
        self._http = http

    async def carry_out(self, kill: Kill) -> Recovery:
        """Kill, wait until all is well again or the bound is over, and look at what is left."""
        first_s = time.monotonic()
        dead = {}
        for number, victim in enumerate(kill.victims):
            await asyncio.sleep(kill.pause_s if number else 0)
            dead[victim] = await self._kill(victim, kill.back_within_s)
        if not all(dead.values()):
            return Recovery(kill, 0.0, time.monotonic() - first_s, 0, ("there was nobody to kill",))
        killed_s, killed_unix_s = time.monotonic(), time.time()
        while missing := await self._missing(dead, killed_s, killed_unix_s):
            if time.monotonic() - killed_s > kill.back_within_s:
                break
            await asyncio.sleep(POLL_S)
        again_s = answered_again_s(self._callers.calls, self._callers.names, killed_s)
        return Recovery(
            kill,
            kill.back_within_s if again_s is None else again_s - killed_s,
            time.monotonic() - killed_s,
            self._callers.lost_since(first_s),
            (*missing, *await asyncio.to_thread(self._house.ledger_faults)),
        )

    async def _kill(self, victim: Victim, within_s: float) -> set[int]:
        """Returns the dead. The one before it in the pair may have taken it along, so it waits for somebody to kill."""
        until_s = time.monotonic() + within_s
        while not (pids := self._house.pids(victim)) and time.monotonic() < until_s:  # noqa: ASYNC110  # /proc tells nobody
            await asyncio.sleep(POLL_S)
        process.kill(pids)
        return pids

    async def _missing(self, dead: dict[Victim, set[int]], killed_s: float, killed_unix_s: float) -> list[str]:
        """What is not well yet, in words."""
        missing = [
            f"no {victim.name} came back" for victim, pids in dead.items() if not self._house.pids(victim) - pids
        ]
        again_s = answered_again_s(self._callers.calls, self._callers.names, killed_s)
        if again_s is None or time.monotonic() - again_s < QUIET_S:
            missing.append("not every caller has answers")
        missing += [f"nobody decides about {model}" for model in await self._undecided(killed_unix_s)]
        if holds := self._house.overdue_holds():
            missing.append(f"{holds} holds are open although their time is over")
        return missing

    async def _undecided(self, since_unix_s: float) -> list[str]:
        try:
            decided_s = await self._house.decided_s(self._http)
        except (aiohttp.ClientError, TimeoutError):
            return list(MODELS)
        return [model for model in MODELS if decided_s.get(model, 0.0) <= since_unix_s + 1]

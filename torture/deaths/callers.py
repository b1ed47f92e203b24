"""The load: callers who ask one after the other, and go on whatever they get."""

import asyncio
import time
from itertools import count

import aiohttp

from torture.client import Desk
from torture.deaths.call import Call
from torture.plan import Client, Habit

PAUSE_S = 0.1
CALLERS_OF_A_MODEL = 2


class Callers:
    """Every other one streams."""

    def __init__(self, url: str, key: str, models: tuple[str, ...]) -> None:
        self._url = url
        self._key = key
        self._models = models
        self.names = [f"{model}/{number}" for model in models for number in range(CALLERS_OF_A_MODEL)]
        self.calls: list[Call] = []

    async def ask(self) -> None:
        """Until cancelled."""
        async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
            desks = {model: Desk(http, [self._url], self._key, model) for model in self._models}
            for number, name in enumerate(self.names):
                tasks.create_task(self._live(desks[name.partition("/")[0]], name, streams=bool(number % 2)))

    def lost_since(self, killed_s: float) -> int:
        """Requests that were not answered, of those that ended since then."""
        return sum(not call.answered for call in self.calls if call.ended_s >= killed_s)

    async def _live(self, desk: Desk, name: str, *, streams: bool) -> None:
        client = Client(name, Habit.WAITS, streams, starts_after_s=0)
        for turn in count():
            began_s = time.monotonic()
            seen = await desk.ask(client, turn, None)
            self.calls.append(Call(name, began_s, time.monotonic(), seen.whole))
            await asyncio.sleep(PAUSE_S)

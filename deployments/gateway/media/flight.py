"""Doing the same thing once, for all who want it at the same time."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True)
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    passengers: int = 0


class SingleFlight(Generic[K, T]):
    """Work under way, by key. It goes on while anybody waits for it; its result, or failure, is everybody's."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[T]] = {}

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns, or what the same work returns that somebody began before. Raises what it raises."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
        flight.passengers += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.passengers -= 1
            if flight.task.done() or not flight.passengers:
                flight.task.cancel()  # nobody is left; without effect where it is done
                if self._flights.get(key) is flight:
                    del self._flights[key]

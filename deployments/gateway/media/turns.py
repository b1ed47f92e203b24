"""Taking turns: a few do something at once, the others wait, and no tenant's work delays another's."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deployments.gateway.shares import Shares

# A tenant has as many turns at most as are left free: half of all if it is alone. So there is one for whoever comes next,
# even where each turn takes long.
TIMES_FREE = 1


class Turns:
    """`size` turns. The next goes to the tenant that has the fewest; of several to who waited first, one each."""

    def __init__(self, size: int) -> None:
        self._shares = Shares(size, TIMES_FREE)
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncIterator[None]:
        """Wait for a turn, and keep it while the block runs."""
        await self.take(tenant)
        try:
            yield
        finally:
            self.give_back(tenant)

    async def take(self, tenant: str) -> None:
        if tenant not in self._waiting and self._shares.fits(tenant):
            self._shares.take(tenant)
            return
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self.give_back(tenant)  # its turn came at the very moment that it was given up
            raise

    def give_back(self, tenant: str) -> None:
        self._shares.give(tenant)
        self._call()

    def _call(self) -> None:
        while tenants := [tenant for tenant in self._waiting if self._shares.fits(tenant)]:
            tenant = min(tenants, key=self._shares.holds)
            if self._next_of(tenant):
                self._shares.take(tenant)

    def _next_of(self, tenant: str) -> bool:
        """Whether one of this tenant's was waiting, and is called now."""
        queue = self._waiting.pop(tenant)
        called = queue.popleft()
        if queue:
            self._waiting[tenant] = queue  # behind all others
        if called.cancelled():
            return False
        called.set_result(None)
        return True

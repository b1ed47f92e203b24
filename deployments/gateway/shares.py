"""A bounded room that tenants share, so that nobody fills it alone."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

# A tenant may hold three times what is left free: three quarters of the room if it is alone, three sevenths beside another.
# The rule is that of switches' buffers: Choudhury and Hahne, "Dynamic queue length thresholds", 1998.
TIMES_FREE = 3


class Full(Exception):
    """This tenant holds its share."""


class Shares:
    """`size` units of something, requests or bytes, of which tenants take and give back; each `times_free` as many at most as
    are left free.
    """

    def __init__(self, size: int, times_free: int = TIMES_FREE) -> None:
        self._times_free = times_free
        self._free = size
        self._held: dict[str, int] = defaultdict(int)

    def fits(self, tenant: str, amount: int = 1) -> bool:
        """Whether so much more would be within the tenant's share."""
        return amount <= self._free and self.holds(tenant) + amount <= self._times_free * self._free

    def holds(self, tenant: str) -> int:
        return self._held.get(tenant, 0)

    def take(self, tenant: str, amount: int = 1) -> None:
        """Raises `Full`; nothing is taken then."""
        if not self.fits(tenant, amount):
            raise Full
        self._free -= amount
        self._held[tenant] += amount

    def give(self, tenant: str, amount: int = 1) -> None:
        """Give back what was taken."""
        self._free += amount
        self._held[tenant] -= amount
        if not self._held[tenant]:
            del self._held[tenant]

    @contextmanager
    def held(self, tenant: str) -> Iterator[None]:
        """Hold one unit while the block runs. Raises `Full`."""
        self.take(tenant)
        try:
            yield
        finally:
            self.give(tenant)

"""Who is next: interactive before batch, then turns between tenants, then between sizes. Pure.

Turns are deficit round robin (Shreedhar and Varghese, SIGCOMM 1995), counted in tokens: each turn adds a quantum to a flow's
deficit, and a flow's first request goes when the deficit covers it. Over time every flow that waits gets the same share of
tokens, whatever the size of its requests. A flow that is new goes first, once: who asks little does not wait for those who
ask much (as in fq_codel, RFC 8290). A tenant's own requests take turns by size, in powers of four: its hundred thumbnails do
not wait for its ten pages.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from deployments.gateway.forming.demand import Demand

QUANTUM_TOKENS = 1280


@dataclass(eq=False, slots=True)
class Entry:
    """A request that waits since `since_s`. One that is `gone` is passed over."""

    demand: Demand
    since_s: float
    gone: bool = False


class Flow(Protocol):
    def push(self, entry: Entry) -> None:
        """Append."""

    def head(self) -> Entry | None:
        """The entry whose turn it is, None if nobody waits."""

    def pop(self) -> Entry:
        """Remove the head, which there is."""


class Fifo:
    """First come, first served."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque()

    def push(self, entry: Entry) -> None:
        self._entries.append(entry)

    def head(self) -> Entry | None:
        while self._entries and self._entries[0].gone:
            self._entries.popleft()
        return self._entries[0] if self._entries else None

    def pop(self) -> Entry:
        return self._entries.popleft()


class RoundRobin:
    """Turns between flows; `name` says of which flow an entry is, `flow` makes a new one."""

    def __init__(self, name: Callable[[Demand], object], flow: Callable[[], Flow]) -> None:
        self._name = name
        self._flow = flow
        self._flows: dict[object, Flow] = {}
        self._deficits: Counter[object] = Counter()
        self._turns: deque[object] = deque()
        self._new: set[object] = set()

    def push(self, entry: Entry) -> None:
        name = self._name(entry.demand)
        if name not in self._flows:
            self._flows[name] = self._flow()
            self._deficits[name] = QUANTUM_TOKENS
            self._turns.appendleft(name)
            self._new.add(name)
        self._flows[name].push(entry)

    def head(self) -> Entry | None:
        while self._turns:
            name = self._turns[0]
            entry = self._flows[name].head()
            if entry and entry.demand.tokens <= self._deficits[name]:
                return entry
            if entry:
                self._deficits[name] += QUANTUM_TOKENS
            elif name not in self._new:
                self._end(name)
                continue
            self._new.discard(name)
            self._turns.rotate(-1)
        return None

    def pop(self) -> Entry:
        entry = self._flows[self._turns[0]].pop()
        self._deficits[self._turns[0]] -= entry.demand.tokens
        return entry

    def _end(self, name: object) -> None:
        """A flow without requests saves nothing up."""
        self._turns.popleft()
        del self._flows[name]
        del self._deficits[name]


@dataclass(slots=True)
class Backlog:
    """What waits of one flow."""

    requests: int = 0
    tokens: int = 0


class FairQueue:
    """All requests of a model that wait, and how much they are."""

    def __init__(self) -> None:
        self._classes: dict[bool, Flow] = {is_batch: _tenants() for is_batch in (False, True)}
        self._waiting: dict[Entry, None] = {}  # in order of arrival
        self._backlogs: dict[bool, dict[str, dict[int, Backlog]]] = {False: {}, True: {}}
        self._tokens: Counter[bool] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, entry: Entry) -> bool:
        return entry in self._waiting

    def push(self, entry: Entry) -> None:
        demand = entry.demand
        self._classes[demand.is_batch].push(entry)
        self._waiting[entry] = None
        sizes = self._backlogs[demand.is_batch].setdefault(demand.tenant, {})
        self._count(sizes.setdefault(size_class(demand), Backlog()), demand, 1)

    def head(self, *, is_batch: bool) -> Entry | None:
        """Whose turn it is in this class."""
        return self._classes[is_batch].head()

    def pop(self, *, is_batch: bool) -> Entry:
        """Remove the head."""
        entry = self._classes[is_batch].pop()
        self._forget(entry)
        return entry

    def remove(self, entry: Entry) -> None:
        """It waits no longer."""
        entry.gone = True
        self._forget(entry)

    def tokens(self, *, is_batch: bool) -> int:
        return self._tokens[is_batch]

    def backlog(self, demand: Demand) -> Backlog | None:
        """What waits of this demand's own flow: its class, tenant and size."""
        return self._backlogs[demand.is_batch].get(demand.tenant, {}).get(size_class(demand))

    def share(self, demand: Demand) -> float:
        """Which part of all turns of its class this demand's flow has, if nobody else comes."""
        tenants = self._backlogs[demand.is_batch]
        sizes = tenants.get(demand.tenant, {})
        return 1 / (len(tenants.keys() | {demand.tenant}) * len(sizes.keys() | {size_class(demand)}))

    def oldest_s(self) -> float | None:
        """Since when the one waits that has waited longest."""
        return next((entry.since_s for entry in self._waiting), None)

    def _forget(self, entry: Entry) -> None:
        demand = entry.demand
        tenants, size = self._backlogs[demand.is_batch], size_class(demand)
        sizes = tenants[demand.tenant]
        del self._waiting[entry]
        self._count(sizes[size], demand, -1)
        if not sizes[size].requests:
            del sizes[size]
        if not sizes:
            del tenants[demand.tenant]

    def _count(self, backlog: Backlog, demand: Demand, sign: int) -> None:
        backlog.requests += sign
        backlog.tokens += sign * demand.tokens
        self._tokens[demand.is_batch] += sign * demand.tokens


def size_class(demand: Demand) -> int:
    """Powers of four: 1 to 3 tokens, 4 to 15, ..., 64 to 255 (a thumbnail), ..., 1024 to 4095 (a page)."""
    return (demand.tokens.bit_length() + 1) // 2


def _tenants() -> Flow:
    return RoundRobin(lambda demand: demand.tenant, _sizes)


def _sizes() -> Flow:
    return RoundRobin(size_class, Fifo)

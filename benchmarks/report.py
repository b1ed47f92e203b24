"""Raw rows -> Markdown. Pure. Ratios and differences are taken against the bare engine of the same round, then the
median over the rounds is shown.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from benchmarks.cpu import ENGINE_ROLES

BARE = "bare"
PEER = "ray.serve.llm"
OURS = "vlmfleet"
ROLE_MS_MIN = 0.05
NOTHING = "-"
CPU_NOTE = (
    "CPU milliseconds a request, by process. *Outside the engine* is all but the engine's own processes; the engine's "
    "front end is one of them where it is a server (bare, vlmfleet), and a part of the *LLM replica* in ray.serve.llm, "
    "so compare those by *added*. *Less idle* leaves out what an idle stack spends in the same time."
)


@dataclass(frozen=True, slots=True)
class Row:
    """One case on one stack in one round. `cpu_ms` is of all requests together, `idle_cpu_ms_per_s` of a quiet stack;
    both by role. Latencies are of right answers only.
    """

    stack: str
    round: int
    image: str
    mode: str
    clients: int
    requests: int
    seconds: float
    latencies_ms: list[float]
    ttfts_ms: list[float]
    events: int
    errors: dict[str, int]
    cpu_ms: dict[str, float]
    idle_cpu_ms_per_s: dict[str, float]

    @property
    def case(self) -> tuple[str, str, int]:
        return self.image, self.mode, self.clients

    @property
    def requests_per_s(self) -> float:
        return len(self.latencies_ms) / self.seconds

    @property
    def cpu_ms_per_request(self) -> float:
        return sum(self.cpu_ms.values()) / self.requests

    @property
    def cpu_ms_outside_engine(self) -> float:
        """A request's CPU milliseconds in processes that are not the engine's, idle work of Ray included."""
        return sum(ms for name, ms in self.cpu_ms.items() if name not in ENGINE_ROLES) / self.requests

    @property
    def cpu_ms_outside_engine_net(self) -> float:
        """The same without what those processes spend when nobody asks anything."""
        idle = sum(ms for name, ms in self.idle_cpu_ms_per_s.items() if name not in ENGINE_ROLES)
        return self.cpu_ms_outside_engine - idle * self.seconds / self.requests


@dataclass(frozen=True, slots=True)
class Target:
    """What the benchmark is to show, and what is aimed at. `at_least` says in which direction is better."""

    what: str
    limit: float
    aim: float
    unit: str
    at_least: bool
    measured: Callable[["Table"], float | None]

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


class Table:
    """Rows of a run, found by stack and case."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)
        self._found = {(row.stack, row.case, row.round): row for row in self.rows if row.latencies_ms}

    @property
    def stacks(self) -> list[str]:
        return list(dict.fromkeys(row.stack for row in self.rows))

    @property
    def cases(self) -> list[tuple[str, str, int]]:
        return list(dict.fromkeys(row.case for row in self.rows))

    def of(self, stack: str, case: tuple[str, str, int]) -> list[Row]:
        return [row for row in self.rows if row.stack == stack and row.case == case]

    def figure(self, stack: str, case: tuple[str, str, int], value: Callable[[Row], float]) -> float | None:
        """The median of a figure over the rounds; None where nothing was measured."""
        return _median(value(row) for row in self.of(stack, case) if row.latencies_ms)

    def ratio(
        self, stack: str, case: tuple[str, str, int], value: Callable[[Row], float], base: str = BARE
    ) -> float | None:
        """The median over the rounds of a figure divided by that of `base` in the same round."""
        return _median(value(row) / value(other) for row, other in self._pairs(stack, case, base))

    def added(self, stack: str, case: tuple[str, str, int], value: Callable[[Row], float]) -> float | None:
        """The median over the rounds of how far a figure is above the bare engine's in the same round."""
        return _median(value(row) - value(other) for row, other in self._pairs(stack, case, BARE))

    def _pairs(self, stack: str, case: tuple[str, str, int], base: str) -> list[tuple[Row, Row]]:
        pairs = [(row, self._found.get((base, case, row.round))) for row in self.of(stack, case)]
        return [(row, other) for row, other in pairs if row.latencies_ms and other is not None]


def percentile(values: Sequence[float], share: float) -> float:
    """By nearest rank: the smallest value that at least `share` of all values do not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def p50(row: Row) -> float:
    return percentile(row.latencies_ms, 0.5)


def p99(row: Row) -> float:
    return percentile(row.latencies_ms, 0.99)


def ttft_p50(row: Row) -> float:
    return percentile(row.ttfts_ms, 0.5)


def ttft_p99(row: Row) -> float:
    return percentile(row.ttfts_ms, 0.99)


TARGETS = (
    Target(
        "throughput against the bare engine, 32 clients",
        0.75, 0.85, "x", at_least=True,
        measured=lambda table: table.ratio(OURS, ("224 px", "unary", 32), lambda row: row.requests_per_s),
    ),
    Target(
        "throughput against ray.serve.llm, 32 clients",
        1.4, 1.6, "x", at_least=True,
        measured=lambda table: table.ratio(OURS, ("224 px", "unary", 32), lambda row: row.requests_per_s, PEER),
    ),
    Target(
        "CPU outside the engine's processes, a unary request, 32 clients",
        7.0, 5.0, "ms", at_least=False,
        measured=lambda table: table.figure(OURS, ("224 px", "unary", 32), lambda row: row.cpu_ms_outside_engine),
    ),
    Target(
        "CPU outside the engine's processes, a stream of 16 tokens, 32 clients",
        9.0, 7.0, "ms", at_least=False,
        measured=lambda table: table.figure(OURS, ("224 px", "stream", 32), lambda row: row.cpu_ms_outside_engine),
    ),
    Target(
        "added p50, 1 client",
        12.0, 6.0, "ms", at_least=False,
        measured=lambda table: table.added(OURS, ("224 px", "unary", 1), p50),
    ),
)  # fmt: skip


def render(rows: Iterable[Row], environment: dict[str, str]) -> str:
    """The whole report."""
    table = Table(rows)
    parts = ["# What vlmfleet costs on top of the engine", _environment(environment), "## Targets", _targets(table)]
    for image, mode in dict.fromkeys((image, mode) for image, mode, _ in table.cases):
        parts += [f"## {image}, {mode}", _speed(table, image, mode), _cpu(table, image, mode)]
    return "\n\n".join(parts) + "\n"


def _environment(environment: dict[str, str]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in environment.items())


def _targets(table: Table) -> str:
    lines = []
    for target in TARGETS:
        value = target.measured(table)
        sign = ">=" if target.at_least else "<="
        verdict = NOTHING if value is None else "yes" if target.met(value) else "NO"
        bounds = [f"{sign} {bound:g} {target.unit}" for bound in (target.limit, target.aim)]
        lines.append([target.what, *bounds, _number(value, 2), verdict])
    return markdown(["what", "target", "aim", "measured", "met"], lines)


def _speed(table: Table, image: str, mode: str) -> str:
    head = ["clients", "stack", "requests/s", "of bare", "p50 ms", "added", "p99 ms", "added"]
    head += ["TTFT p50 ms", "added", "TTFT p99 ms", "added", "events"] if mode == "stream" else []
    lines = []
    for case in _cases(table, image, mode):
        for stack in _stacks(table, case):
            line = [str(case[2]), stack]
            line.append(_number(table.figure(stack, case, lambda row: row.requests_per_s), 1))
            line.append(_number(table.ratio(stack, case, lambda row: row.requests_per_s), 2))
            for value in (p50, p99, *((ttft_p50, ttft_p99) if mode == "stream" else ())):
                line += _with_added(table, stack, case, value)
            if mode == "stream":
                line.append(_number(table.figure(stack, case, lambda row: row.events / len(row.latencies_ms)), 1))
            lines.append([*line, _errors(table.of(stack, case))])
    return markdown([*head, "errors"], lines)


def _cpu(table: Table, image: str, mode: str) -> str:
    """CPU milliseconds a request: all, above the bare engine's, outside the engine, and by process."""
    roles = _roles(table, image, mode)
    lines = []
    for case in _cases(table, image, mode):
        for stack in _stacks(table, case):
            line = [str(case[2]), stack, *_with_added(table, stack, case, lambda row: row.cpu_ms_per_request)]
            line.append(_number(table.figure(stack, case, lambda row: row.cpu_ms_outside_engine), 1))
            line.append(_number(table.figure(stack, case, lambda row: row.cpu_ms_outside_engine_net), 1))
            line += [_role_number(table.figure(stack, case, _of_role(name))) for name in roles]
            lines.append(line)
    head = ["clients", "stack", "CPU ms", "added", "outside the engine", "less idle", *roles]
    return f"{CPU_NOTE}\n\n{markdown(head, lines)}"


def _roles(table: Table, image: str, mode: str) -> list[str]:
    """Those that cost something, the dearest first."""
    dearest: dict[str, float] = {}
    for row in table.rows:
        if row.case[:2] == (image, mode):
            for name, ms in row.cpu_ms.items():
                dearest[name] = max(dearest.get(name, 0.0), ms / row.requests)
    return sorted((name for name, ms in dearest.items() if ms >= ROLE_MS_MIN), key=lambda name: -dearest[name])


def _of_role(name: str) -> Callable[[Row], float]:
    return lambda row: row.cpu_ms.get(name, 0.0) / row.requests


def _cases(table: Table, image: str, mode: str) -> list[tuple[str, str, int]]:
    return [case for case in table.cases if case[:2] == (image, mode)]


def _stacks(table: Table, case: tuple[str, str, int]) -> list[str]:
    return [stack for stack in table.stacks if table.of(stack, case)]


def _with_added(table: Table, stack: str, case: tuple[str, str, int], value: Callable[[Row], float]) -> list[str]:
    added = None if stack == BARE else table.added(stack, case, value)
    return [_number(table.figure(stack, case, value), 1), _number(added, 1)]


def _errors(rows: list[Row]) -> str:
    total: dict[str, int] = {}
    for row in rows:
        for what, count in row.errors.items():
            total[what] = total.get(what, 0) + count
    return ", ".join(f"{count} x {what}" for what, count in total.items()) or "0"


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _number(value: float | None, decimals: int) -> str:
    return NOTHING if value is None else f"{value:.{decimals}f}"


def _role_number(value: float | None) -> str:
    return NOTHING if value is None or value < ROLE_MS_MIN else f"{value:.1f}"


def markdown(head: list[str], lines: list[list[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)

"""What a seed decides: who dies where, and how each client behaves. Pure: the same seed is the same plan."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

CLIENTS = 64
# The cap is worth so many whole answers: most clients have to be refused.
AFFORDABLE = 40
STARTS_WITHIN_S = 0.3
SECOND_DEATH_EVERY = 3
# Shorter and longer than the first byte usually takes.
IMPATIENCE_S = (0.0, 0.1)
CHUNKS_MAX = 6


class Role(StrEnum):
    """Who dies."""

    GATEWAY = "gateway"
    WRITER = "writer"
    SWEEPER = "sweeper"  # the writer again, but later: when the holds of the dead have expired
    ENGINE = "engine"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Point:
    """A failpoint. A process passes it about `passings` times while the clients are served; it hangs there before it dies."""

    name: str
    role: Role
    passings: int
    hang_s: float = 0.0

    @property
    def title(self) -> str:
        return f"{self.name}, hung" if self.hang_s else self.name


# Longer than these gateways wait for a charge, and less than they do for a hold: so their clients outlast it.
HANG_S = 1.5
# Of a gateway whose writer hangs: the answers before it have left, or were withheld.
UNCONFIRMED = Point("post.acked", Role.GATEWAY, 2)
FIRST_HOLDS = Point("hold.acked", Role.GATEWAY, 12)
POINTS = (
    Point("hold.queued", Role.GATEWAY, 16),
    FIRST_HOLDS,
    Point("first_byte.sent", Role.GATEWAY, 6),
    Point("stream.middle", Role.GATEWAY, 40),
    Point("engine.last_chunk", Role.GATEWAY, 8),
    Point("post.queued", Role.GATEWAY, 8),
    Point("post.acked", Role.GATEWAY, 8),
    Point("writer.batch_open", Role.WRITER, 30),
    Point("writer.committed", Role.WRITER, 30),
    Point("sweeper.middle", Role.SWEEPER, 1),
    Point("replica.prefill", Role.ENGINE, 30),
    Point("replica.decode", Role.ENGINE, 100),
    Point("writer.batch_open", Role.WRITER, 30, HANG_S),
    Point("writer.committed", Role.WRITER, 30, HANG_S),
)
# Only where there is a server to kill; its passings are hundredths of a second.
DATABASE = Point("database", Role.DATABASE, 60)


@dataclass(frozen=True, slots=True)
class Death:
    """`kill -9` at one passing of a failpoint, counted from 1."""

    point: Point
    passing: int

    @property
    def spec(self) -> str:
        """As `accounting.failpoint` takes it."""
        hang = f":{self.point.hang_s}" if self.point.hang_s else ""
        return f"{self.point.name}:{self.passing}{hang}"


class Habit(StrEnum):
    """What a client does when it does not get a whole answer."""

    WAITS = "waits"  # it takes what comes
    LEAVES = "leaves"  # it does not even wait for that
    RETRIES = "retries"  # as openai-python does by itself
    RETURNS = "returns"  # with an Idempotency-Key, until it has an answer; it may leave its first stream in the middle


@dataclass(frozen=True, slots=True)
class Client:
    """`name` is the request's `user`: so the ledger knows whose request it was. A client that leaves does so after
    `leaves_after` chunks; `patience_s` bounds its first try.
    """

    name: str
    habit: Habit
    streams: bool
    starts_after_s: float
    leaves_after: int | None = None
    patience_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One seed."""

    seed: int
    deaths: tuple[Death, ...]
    clients: tuple[Client, ...]

    def death_of(self, role: Role) -> str | None:
        """Where the first process of this role dies."""
        return next((death.spec for death in self.deaths if death.point.role is role), None)


def plan_of(seed: int, points: tuple[Point, ...]) -> Plan:
    """Seeds go through the failpoints in turn; every third seed kills at a second one, too."""
    random = Random(seed)  # noqa: S311  # a plan is no secret
    point = points[seed % len(points)]
    deaths = [_death(point, random)]
    if point.role is Role.SWEEPER:
        deaths.append(_death(FIRST_HOLDS, random))  # else there would be nothing to sweep
    elif point.hang_s:
        deaths.append(_death(UNCONFIRMED, random))
    elif seed % SECOND_DEATH_EVERY == 0:
        deaths.append(_death(random.choice([other for other in points if other.role is not point.role]), random))
    return Plan(seed, tuple(deaths), tuple(_client(f"client-{number}", random) for number in range(CLIENTS)))


def _death(point: Point, random: Random) -> Death:
    return Death(point, random.randint(1, point.passings))


def _client(name: str, random: Random) -> Client:
    habit = random.choice(list(Habit))
    streams = random.random() < 0.7 or habit is Habit.LEAVES
    starts_after_s = random.uniform(0, STARTS_WITHIN_S)
    breaks_off = habit is Habit.LEAVES or (habit is Habit.RETURNS and streams)
    if breaks_off and random.random() < 0.7:
        return Client(name, habit, streams, starts_after_s, leaves_after=random.randint(1, CHUNKS_MAX))
    impatient = habit is Habit.LEAVES or (habit is Habit.RETRIES and random.random() < 0.5)
    return Client(name, habit, streams, starts_after_s, patience_s=random.uniform(*IMPATIENCE_S) if impatient else None)

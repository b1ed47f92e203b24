"""Rate limits of keys: rows of `rate`, which no money depends on."""

import orjson

from accounting.command import Attempt, Hold, Result
from accounting.limits import MINUTE_MS, LimitState
from accounting.sql.database import Database, Undo, values

CONCURRENCY = "concurrency"
TOKENS = "tokens_per_minute"
COUNTED_AGAIN = ("requests_per_minute", "images_per_minute")
CONCURRENCY_RETRY_MS = 1_000
# What a request took of a limit: subject, name, minute, amount. Concurrency is of minute 0.
Taken = tuple[str, str, int, int]


def take_limits(db: Database, hold: Hold) -> tuple[list[Taken], list[LimitState]]:
    """Take the request's share of each limit, or of none. Returns what was taken, and what is left."""
    minute_ms = db.now_ms - db.now_ms % MINUTE_MS
    caps = hold.limits.given()
    wanted = [(hold.root, name, 0 if name == CONCURRENCY else minute_ms, _share(hold, name)) for name in caps]
    used = _take(db, [(*taken, caps[taken[1]]) for taken in wanted])
    left = []
    for name, cap in caps.items():
        reset_ms = CONCURRENCY_RETRY_MS if name == CONCURRENCY else minute_ms + MINUTE_MS - db.now_ms
        if name not in used:
            raise Undo(Result.RATE_LIMITED, blocked_by=name, retry_after_ms=reset_ms)
        left.append(LimitState(name=name, limit=cap, remaining=cap - used[name], reset_ms=reset_ms))
    return wanted, left


def count_again(db: Database, hold: Hold) -> None:
    """A retry that goes on with a hold is one more request, with its images; the tokens are the hold's."""
    minute_ms = db.now_ms - db.now_ms % MINUTE_MS
    caps = {name: cap for name, cap in hold.limits.given().items() if name in COUNTED_AGAIN}
    used = _take(db, [(hold.root, name, minute_ms, _share(hold, name), cap) for name, cap in caps.items()])
    for name in caps:
        if name not in used:
            raise Undo(Result.RATE_LIMITED, blocked_by=name, retry_after_ms=minute_ms + MINUTE_MS - db.now_ms)


def return_limits(db: Database, rated: str, record: Attempt | None) -> None:
    """A request that ended is none at once any more, and took only the tokens that it used."""
    for subject, name, minute_ms, amount in orjson.loads(rated):
        if name == CONCURRENCY:
            returned = amount
        elif name == TOKENS and record:
            returned = max(0, amount - record.text_tokens - record.vision_tokens - record.output_tokens)
        else:
            continue
        db.later(
            "UPDATE rate SET used = CASE WHEN used > ? THEN used - ? ELSE 0 END"
            " WHERE subject = ? AND name = ? AND minute_ms = ?",
            returned, returned, subject, name, minute_ms,
        )  # fmt: skip


def forget_minutes(db: Database) -> None:
    """Those that nothing is given back to any more."""
    db.change("DELETE FROM rate WHERE name <> ? AND minute_ms <= ?", CONCURRENCY, db.now_ms - 2 * MINUTE_MS)


def _share(hold: Hold, name: str) -> int:
    match name:
        case "images_per_minute":
            return len(hold.image_units)
        case "tokens_per_minute":
            return hold.tokens_max
    return 1


def _take(db: Database, shares: list[tuple[str, str, int, int, int]]) -> dict[str, int]:
    """Take shares (subject, name, minute, amount, cap) where there is room. Returns what is used now of those that had it."""
    # What is above its cap by itself could not even be written.
    possible = [share for share in shares if share[3] <= share[4]]
    if not possible:
        return {}
    rows, parameters = values(possible)
    used = db.all(
        f"INSERT INTO rate (subject, name, minute_ms, used, cap) VALUES {rows}"
        " ON CONFLICT (subject, name, minute_ms) DO UPDATE SET used = rate.used + excluded.used, cap = excluded.cap"
        " WHERE rate.used + excluded.used <= excluded.cap RETURNING name, used",
        *parameters,
    )
    return dict(used)

"""The life of a hold: opened, perhaps taken over by a retry, ended once. Each function carries out one command."""

from collections.abc import Sequence
from typing import Any

import orjson

from accounting.budget import Period, account_id, scopes_of
from accounting.command import Attempt, FirstByte, Hold, Outcome, Post, Reply, Result, Void
from accounting.limits import MINUTE_MS, LimitState
from accounting.sql.books import book, move, paid_by
from accounting.sql.database import Database, Refused, Undo, values
from accounting.usage import Width, bucket_start

IDEMPOTENCY_MS = 24 * 3_600_000
RETRY_WITHIN_MS = 10 * 60_000
ATTEMPTS_MAX = 3
CONCURRENCY = "concurrency"
TOKENS = "tokens_per_minute"
# What a request took of a limit: subject, name, minute, amount.
Taken = tuple[str, str, int, int]
CONCURRENCY_RETRY_MS = 1_000
IN_PROGRESS_RETRY_MS = 1_000
# Why a hold cannot be ended, by its state.
REFUSALS = {
    "posted": Result.ALREADY_POSTED,
    "void": Result.ALREADY_VOID,
    None: Result.NO_SUCH_HOLD,
}


def open_hold(db: Database, hold: Hold) -> Reply:
    """See `Hold`."""
    if known := _known(db, hold) or _taken_over(db, hold) or _take_over(db, hold) or _replay(db, hold):
        return known
    rated, limits = _take_limits(db, hold)
    credit, budgets = f"credit:{hold.org_id}", _budgets(db, hold)
    try:
        _insert(db, hold, [credit, *(account for account, _, _ in budgets)], rated)
    except Refused as refused:
        raise Undo(Result.NO_SUCH_PRICE if refused.rule == "reference" else Result.INVALID) from refused
    if not _reserve(db, credit, hold.amount_nano):
        raise Undo(Result.NO_SUCH_ACCOUNT, blocked_by=credit)
    for account, limit_nano, alert_nano in budgets:
        if not _reserve(db, account, hold.amount_nano):
            _begin_period(db, account, limit_nano, alert_nano)
            _reserve(db, account, hold.amount_nano)
    _remember(db, hold)
    return Reply(Result.CREATED, hold.request_id, limits=tuple(limits))


def first_byte(db: Database, command: FirstByte) -> Reply:
    """See `FirstByte`."""
    marked = db.change(
        "UPDATE hold SET first_byte_at_ms = coalesce(first_byte_at_ms, ?)"
        " WHERE request_id = ? AND attempt = ? AND state = 'open'",
        db.now_ms, command.request_id, command.attempt,
    )  # fmt: skip
    return Reply(Result.CHANGED, command.request_id) if marked else _why_not_open(db, command)


def post(db: Database, command: Post) -> Reply:
    """See `Post`."""
    try:
        ended = db.one(
            "UPDATE hold SET state = 'posted', charged_nano = ?, why = ?, closed_at_ms = ?"
            " WHERE request_id = ? AND attempt = ? AND state = 'open'"
            " RETURNING parts, amount_nano, rated, idempotency_key, org_id, project_id, key_id, user_id, model, tier, units,"
            " created_at_ms",
            command.charged_nano, command.outcome, db.now_ms, command.request_id, command.attempt,
        )  # fmt: skip
    except Refused as refused:
        raise Undo(Result.ABOVE_THE_HOLD if refused.rule == "within_the_hold" else Result.INVALID) from refused
    if ended is None:
        return _too_late(db, command)
    parts, amount_nano, rated, idempotency_key, *caller = ended
    accounts: list[str] = orjson.loads(parts)
    charged = paid_by(accounts, command.charged_nano) if command.charged_nano else {}
    held = {account: int(amount_nano) for account in accounts}
    book(db, "charge", command.request_id, charged, held)
    _return_limits(db, rated, command.record)
    _record(db, command, charged=True)
    _add_up(db, caller, command)
    _count(db, caller[4], command.outcome, command.charged_nano, command.record)
    if idempotency_key is not None and command.response is not None:
        _keep_response(db, caller[2], idempotency_key, command)
    return Reply(Result.POSTED, command.request_id)


def void(db: Database, command: Void) -> Reply:
    """See `Void`."""
    ended = db.one(
        "UPDATE hold SET state = 'void', why = ?, closed_at_ms = ?"
        " WHERE request_id = ? AND attempt = ? AND state = 'open' RETURNING parts, amount_nano, rated, model",
        command.outcome, db.now_ms, command.request_id, command.attempt,
    )  # fmt: skip
    if ended is None:
        return _too_late(db, command)
    parts, amount_nano, rated, model = ended
    _release(db, parts, amount_nano)
    _return_limits(db, rated, command.record)
    _record(db, command, charged=False)
    _count(db, model, command.outcome, 0, command.record)
    return Reply(Result.VOIDED, command.request_id)


def expire(db: Database) -> int:
    """Void the open holds whose time is over. Because a whole answer waits for its post, they belong to answers that never
    ended.
    """
    expired = db.all(
        "UPDATE hold SET state = 'void', why = ?, closed_at_ms = ? WHERE state = 'open' AND expires_at_ms <= ?"
        " RETURNING parts, amount_nano, rated, model",
        Outcome.EXPIRED, db.now_ms, db.now_ms,
    )  # fmt: skip
    for parts, amount_nano, rated, model in expired:
        _release(db, parts, amount_nano)
        _return_limits(db, rated, None)
        _count(db, model, Outcome.EXPIRED, 0, None)
    return len(expired)


def forget(db: Database) -> None:
    """Drop what only counts for a while: past minutes of rate limits, answers kept for idempotency keys."""
    db.change("DELETE FROM rate WHERE name <> ? AND minute_ms <= ?", CONCURRENCY, db.now_ms - 2 * MINUTE_MS)
    db.change("DELETE FROM idempotency WHERE expires_at_ms <= ?", db.now_ms)


def _known(db: Database, hold: Hold) -> Reply | None:
    """The reply to a hold that was sent before, under the same id."""
    row = db.one(
        "SELECT key_id, model, price_version, amount_nano, body_sha FROM hold WHERE request_id = ?", hold.request_id
    )
    if row is None:
        return None
    same = row == (hold.key_id, hold.model, hold.price_version, hold.amount_nano, hold.body_sha)
    return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT, hold.request_id)


def _taken_over(db: Database, hold: Hold) -> Reply | None:
    """The reply to a retry that was sent before, and took a hold over."""
    if not hold.is_retry:
        return None
    row = db.one("SELECT hold_id, attempt FROM takeover WHERE request_id = ?", hold.request_id)
    return Reply(Result.TAKEN_OVER, row[0], row[1]) if row else None


def _take_over(db: Database, hold: Hold) -> Reply | None:
    """A client's silent retry goes on with the hold of its first try, whose own end is refused from now on."""
    if not hold.is_retry:
        return None
    taken = db.one(
        "UPDATE hold SET attempt = attempt + 1, gateway_id = ?, expires_at_ms = ? WHERE request_id ="
        " (SELECT request_id FROM hold WHERE key_id = ? AND body_sha = ? AND state = 'open' AND first_byte_at_ms IS NULL"
        " AND created_at_ms > ? AND attempt < ? AND model = ? AND price_version = ? AND amount_nano = ?"
        " AND coalesce(idempotency_key, '') = ? ORDER BY created_at_ms DESC, request_id LIMIT 1)"
        " RETURNING request_id, attempt",
        hold.gateway_id, db.now_ms + hold.expires_in_ms, hold.key_id, hold.body_sha, db.now_ms - RETRY_WITHIN_MS,
        ATTEMPTS_MAX, hold.model, hold.price_version, hold.amount_nano, hold.idempotency_key or "",
    )  # fmt: skip
    if taken is None:
        return None
    db.change("INSERT INTO takeover (request_id, hold_id, attempt) VALUES (?, ?, ?)", hold.request_id, *taken)
    return Reply(Result.TAKEN_OVER, *taken)


def _replay(db: Database, hold: Hold) -> Reply | None:
    """What an idempotency key is answered with; None if this request is the first to use it."""
    if hold.idempotency_key is None:
        return None
    row = db.one(
        "SELECT idempotency.body_sha, request_id, response, state FROM idempotency JOIN hold USING (request_id)"
        " WHERE idempotency.key_id = ? AND idempotency.idempotency_key = ? AND idempotency.expires_at_ms > ?",
        hold.key_id, hold.idempotency_key, db.now_ms,
    )  # fmt: skip
    if row is None:
        return None
    body_sha, request_id, response, state = row
    if state == "void":
        return None  # it came to nothing: as if it had not been
    if body_sha != hold.body_sha:
        return Reply(Result.IDEMPOTENCY_KEY_REUSED)
    if state == "open":
        return Reply(Result.IN_PROGRESS, request_id, retry_after_ms=IN_PROGRESS_RETRY_MS)
    return Reply(Result.REPLAYED, request_id, response=response)


def _take_limits(db: Database, hold: Hold) -> tuple[list[Taken], list[LimitState]]:
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
        left.append(LimitState(name, cap, cap - used[name], reset_ms))
    return wanted, left


def _share(hold: Hold, name: str) -> int:
    match name:
        case "images_per_minute":
            return len(hold.image_units)
        case "tokens_per_minute":
            return hold.tokens_max
    return 1


def _take(db: Database, shares: list[tuple[str, str, int, int, int]]) -> dict[str, int]:
    """Take shares (subject, name, minute, amount, cap) where there is room. Returns what is used now of those that had it."""
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


def _budgets(db: Database, hold: Hold) -> list[tuple[str, int, int | None]]:
    """The account, limit and alert of every budget that bounds this request."""
    budgets = db.all(
        "SELECT scope, period, limit_nano, alert_nano FROM budget WHERE scope IN (?, ?, ?) ORDER BY scope, period",
        *scopes_of(hold.org_id, hold.project_id, hold.root),
    )
    return [(account_id(scope, Period(period), db.now_ms), *limits) for scope, period, *limits in budgets]


def _begin_period(db: Database, account: str, limit_nano: int, alert_nano: int | None) -> None:
    db.change(
        "INSERT INTO account (id, kind, limit_nano, alert_nano) VALUES (?, 'budget', ?, ?)",
        account,
        limit_nano,
        alert_nano,
    )


def _insert(db: Database, hold: Hold, accounts: list[str], rated: list[Taken]) -> None:
    db.change(
        "INSERT INTO hold (request_id, gateway_id, key_id, org_id, project_id, model, price_version, tier, units, parts,"
        " amount_nano, state, body_sha, user_id, metadata, idempotency_key, rated, created_at_ms, expires_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?, ?, ?)",
        hold.request_id, hold.gateway_id, hold.key_id, hold.org_id, hold.project_id, hold.model, hold.price_version,
        hold.tier, _json({"images": hold.image_units, "output": hold.output_units}), _json(accounts),
        hold.amount_nano, hold.body_sha, hold.user_id, hold.metadata, hold.idempotency_key, _json(rated), db.now_ms,
        db.now_ms + hold.expires_in_ms,
    )  # fmt: skip


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _reserve(db: Database, account: str, amount_nano: int) -> bool:
    """False: there is no such account."""
    try:
        reserved = db.change("UPDATE account SET reserved_nano = reserved_nano + ? WHERE id = ?", amount_nano, account)
    except Refused as refused:
        raise Undo(Result.NO_ROOM if refused.rule == "room" else Result.INVALID, blocked_by=account) from refused
    return reserved == 1


def _remember(db: Database, hold: Hold) -> None:
    if hold.idempotency_key is None:
        return
    db.later(
        "INSERT INTO idempotency (key_id, idempotency_key, body_sha, request_id, expires_at_ms) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (key_id, idempotency_key) DO UPDATE SET body_sha = excluded.body_sha, request_id = excluded.request_id,"
        " response = NULL, expires_at_ms = excluded.expires_at_ms",
        hold.key_id, hold.idempotency_key, hold.body_sha, hold.request_id, db.now_ms + IDEMPOTENCY_MS,
    )  # fmt: skip


def _release(db: Database, parts: str, amount_nano: int) -> None:
    """Give all of a hold back to the accounts it was reserved in."""
    move(db, dict.fromkeys(orjson.loads(parts), (-amount_nano, 0)))


def _add_up(db: Database, caller: Sequence[Any], command: Post) -> None:
    """Add the request to the rollups of its admission's minute, hour and day."""
    org_id, project_id, key_id, user_id, model, tier, units, created_at_ms = caller
    record = command.record
    who = (org_id, project_id, key_id, user_id or "", model, tier)
    what = (
        1, record.images, sum(orjson.loads(units)["images"]), record.text_tokens, record.vision_tokens, record.cached_tokens,
        record.output_tokens, command.charged_nano,
    )  # fmt: skip
    rows, parameters = values([(width, bucket_start(width, created_at_ms), *who, *what) for width in Width])
    db.later(
        f"INSERT INTO rollup VALUES {rows}"
        " ON CONFLICT (width, start_ms, org_id, project_id, key_id, user_id, model, tier) DO UPDATE SET"
        " requests = rollup.requests + 1, images = rollup.images + excluded.images, units = rollup.units + excluded.units,"
        " text_tokens = rollup.text_tokens + excluded.text_tokens, vision_tokens = rollup.vision_tokens + excluded.vision_tokens,"
        " cached_tokens = rollup.cached_tokens + excluded.cached_tokens,"
        " output_tokens = rollup.output_tokens + excluded.output_tokens,"
        " revenue_nano = rollup.revenue_nano + excluded.revenue_nano",
        *parameters,
    )


def _count(db: Database, model: str, outcome: Outcome, charged_nano: int, record: Attempt | None) -> None:
    """Add a request that ended to the fleet's totals."""
    db.later(
        "INSERT INTO total VALUES (?, ?, 1, ?, ?, ?, ?, ?) ON CONFLICT (model, outcome) DO UPDATE SET"
        " requests = total.requests + 1, images = total.images + excluded.images,"
        " vision_tokens = total.vision_tokens + excluded.vision_tokens, text_tokens = total.text_tokens + excluded.text_tokens,"
        " output_tokens = total.output_tokens + excluded.output_tokens, charged_nano = total.charged_nano + excluded.charged_nano",
        model, outcome, *(
            (record.images, record.vision_tokens, record.text_tokens, record.output_tokens) if record else (0, 0, 0, 0)
        ), charged_nano,
    )  # fmt: skip


def _return_limits(db: Database, rated: str, record: Attempt | None) -> None:
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


def _record(db: Database, end: Post | Void, *, charged: bool) -> None:
    record = end.record
    db.later(
        "INSERT INTO attempt (request_id, attempt, replica_id, finish, images, text_tokens, vision_tokens, cached_tokens,"
        " output_tokens, ttft_ms, latency_ms, charged, slot_from_ms, slot_to_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        end.request_id, end.attempt, record.replica_id, record.finish, record.images, record.text_tokens,
        record.vision_tokens, record.cached_tokens, record.output_tokens, record.ttft_ms, record.latency_ms, int(charged),
        record.slot_from_ms, record.slot_to_ms,
    )  # fmt: skip


def _keep_response(db: Database, key_id: str, idempotency_key: str, command: Post) -> None:
    db.later(
        "UPDATE idempotency SET response = ? WHERE key_id = ? AND idempotency_key = ? AND request_id = ?",
        command.response, key_id, idempotency_key, command.request_id,
    )  # fmt: skip


def _too_late(db: Database, end: Post | Void) -> Reply:
    """The end of an attempt that was taken over, or whose hold has ended: it charges nothing, and what it used of a replica
    is recorded all the same.
    """
    refusal = _why_not_open(db, end)
    if db.one("SELECT 1 FROM hold WHERE request_id = ? AND attempt >= ?", end.request_id, end.attempt):
        _record(db, end, charged=False)
    return refusal


def _why_not_open(db: Database, command: FirstByte | Post | Void) -> Reply:
    """An attempt that was taken over is told so even when its hold has ended since: its answer must not leave."""
    row = db.one("SELECT state, attempt FROM hold WHERE request_id = ?", command.request_id)
    if row and row[1] != command.attempt:
        return Reply(Result.NOT_THE_CURRENT_ATTEMPT, command.request_id)
    return Reply(REFUSALS[row[0] if row else None], command.request_id)

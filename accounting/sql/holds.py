"""The life of a hold: opened, perhaps taken over by a retry, ended once. Each public function carries out one command."""

import orjson

from accounting.budget import Period, account_id, scopes_of
from accounting.command import FirstByte, Hold, Outcome, Post, Reply, Result, Void
from accounting.sql.books import book, move, paid_by
from accounting.sql.database import Database, Refused, Undo
from accounting.sql.rates import Taken, return_limits, take_limits
from accounting.sql.repeats import keep_response, remember, repeated
from accounting.sql.sums import add_total, add_usage

# Why a hold cannot be ended, by its state.
REFUSALS = {
    "posted": Result.ALREADY_POSTED,
    "void": Result.ALREADY_VOID,
    None: Result.NO_SUCH_HOLD,
}


def open_hold(db: Database, hold: Hold) -> Reply:
    """See `Hold`."""
    if reply := repeated(db, hold):
        return reply
    rated, limits = take_limits(db, hold)
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
    remember(db, hold)
    return Reply(Result.CREATED, request_id=hold.request_id, limits=tuple(limits))


def first_byte(db: Database, command: FirstByte) -> Reply:
    """See `FirstByte`."""
    marked = db.change(
        "UPDATE hold SET first_byte_at_ms = coalesce(first_byte_at_ms, ?)"
        " WHERE request_id = ? AND attempt = ? AND state = 'open'",
        db.now_ms, command.request_id, command.attempt,
    )  # fmt: skip
    return Reply(Result.CHANGED, request_id=command.request_id) if marked else _why_not_open(db, command)


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
    return_limits(db, rated, command.record)
    _record(db, command, charged=True)
    add_usage(db, caller, command)
    add_total(db, caller[4], command.outcome, command.charged_nano, command.record)
    if idempotency_key is not None and command.response is not None:
        keep_response(db, caller[2], idempotency_key, command)
    return Reply(Result.POSTED, request_id=command.request_id)


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
    return_limits(db, rated, command.record)
    _record(db, command, charged=False)
    add_total(db, model, command.outcome, 0, command.record)
    return Reply(Result.VOIDED, request_id=command.request_id)


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
        return_limits(db, rated, None)
        add_total(db, model, Outcome.EXPIRED, 0, None)
    return len(expired)


def postpone(db: Database, leapt_ms: int) -> None:
    """The store's clock has leapt ahead: the requests that hold something now have not become older by that."""
    db.change("UPDATE hold SET expires_at_ms = expires_at_ms + ? WHERE state = 'open'", leapt_ms)


def _budgets(db: Database, hold: Hold) -> list[tuple[str, int, int | None]]:
    """The account, limit and alert of every budget that bounds this request."""
    budgets = db.all(
        "SELECT coalesce(account_scope, scope), period, limit_nano, alert_nano FROM budget WHERE scope IN (?, ?, ?, ?)"
        " ORDER BY scope, period",
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


def _release(db: Database, parts: str, amount_nano: int) -> None:
    """Give all of a hold back to the accounts it was reserved in."""
    move(db, dict.fromkeys(orjson.loads(parts), (-amount_nano, 0)))


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
        return Reply(Result.NOT_THE_CURRENT_ATTEMPT, request_id=command.request_id)
    return Reply(REFUSALS[row[0] if row else None], request_id=command.request_id)

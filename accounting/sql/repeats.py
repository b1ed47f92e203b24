"""What a client asks again: with the same id, as the silent retry of an SDK, or under an idempotency key."""

from accounting.command import Hold, Outcome, Post, Reply, Result
from accounting.sql.database import Database
from accounting.sql.rates import count_again

IDEMPOTENCY_MS = 24 * 3_600_000
# A batch runs for a day, and its worker may be away for days before it asks for a line again.
BATCH_IDEMPOTENCY_MS = 7 * 24 * 3_600_000
IN_PROGRESS_RETRY_MS = 1_000
RETRY_WITHIN_MS = 10 * 60_000
ATTEMPTS_MAX = 3


def repeated(db: Database, hold: Hold) -> Reply | None:
    """The reply to a hold that is not a request of its own; None if it is one."""
    return _known(db, hold) or _taken_over(db, hold) or _take_over(db, hold) or _replay(db, hold)


def remember(db: Database, hold: Hold) -> None:
    if hold.idempotency_key is None:
        return
    kept_ms = BATCH_IDEMPOTENCY_MS if hold.tier == "batch" else IDEMPOTENCY_MS
    db.later(
        "INSERT INTO idempotency (key_id, idempotency_key, body_sha, request_id, expires_at_ms) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (key_id, idempotency_key) DO UPDATE SET body_sha = excluded.body_sha, request_id = excluded.request_id,"
        " response = NULL, expires_at_ms = excluded.expires_at_ms",
        hold.key_id, hold.idempotency_key, hold.body_sha, hold.request_id, db.now_ms + kept_ms,
    )  # fmt: skip


def keep_response(db: Database, key_id: str, idempotency_key: str, command: Post) -> None:
    db.later(
        "UPDATE idempotency SET response = ? WHERE key_id = ? AND idempotency_key = ? AND request_id = ?",
        command.response, key_id, idempotency_key, command.request_id,
    )  # fmt: skip


def forget_responses(db: Database) -> None:
    """Those whose time is over."""
    db.change("DELETE FROM idempotency WHERE expires_at_ms <= ?", db.now_ms)


def _known(db: Database, hold: Hold) -> Reply | None:
    """The reply to a hold that was sent before, under the same id."""
    row = db.one(
        "SELECT key_id, model, price_version, amount_nano, body_sha FROM hold WHERE request_id = ?", hold.request_id
    )
    if row is None:
        return None
    same = row == (hold.key_id, hold.model, hold.price_version, hold.amount_nano, hold.body_sha)
    return Reply(Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT, request_id=hold.request_id)


def _taken_over(db: Database, hold: Hold) -> Reply | None:
    """The reply to a retry that was sent before, and took a hold over."""
    if not hold.is_retry:
        return None
    row = db.one("SELECT hold_id, attempt FROM takeover WHERE request_id = ?", hold.request_id)
    return Reply(Result.TAKEN_OVER, request_id=row[0], attempt=row[1]) if row else None


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
    count_again(db, hold)
    db.change("INSERT INTO takeover (request_id, hold_id, attempt) VALUES (?, ?, ?)", hold.request_id, *taken)
    return Reply(Result.TAKEN_OVER, request_id=taken[0], attempt=taken[1])


def _replay(db: Database, hold: Hold) -> Reply | None:
    """What an idempotency key is answered with; None if this request is the first to use it."""
    if hold.idempotency_key is None:
        return None
    row = db.one(
        "SELECT idempotency.body_sha, request_id, response, state, why FROM idempotency JOIN hold USING (request_id)"
        " WHERE idempotency.key_id = ? AND idempotency.idempotency_key = ? AND idempotency.expires_at_ms > ?",
        hold.key_id, hold.idempotency_key, db.now_ms,
    )  # fmt: skip
    if row is None:
        return None
    body_sha, request_id, response, state, why = row
    if state == "void":
        return None  # it came to nothing: as if it had not been
    if body_sha != hold.body_sha:
        return Reply(Result.IDEMPOTENCY_KEY_REUSED)
    if state == "open":
        return Reply(Result.IN_PROGRESS, request_id=request_id, retry_after_ms=IN_PROGRESS_RETRY_MS)
    # Else its client left: what it was sent is paid for, and is no answer.
    return Reply(Result.REPLAYED, request_id=request_id, response=response) if why == Outcome.COMPLETE else None

"""Keys: stored, changed, rotated. Each function carries out one command; the audit log never holds a hash."""

import json
from dataclasses import asdict

from accounting.command import AddKey, ChangeKey, Grant, Reply, Result, RotateKey
from accounting.key import KeyRecord
from accounting.limits import RateLimits
from accounting.sql.books import grant, note
from accounting.sql.database import Database, Refused, Row, Undo

COLUMNS = (
    "id", "sha256", "org_id", "project_id", "name", "scopes", "expires_at_ms", "revoked_at_ms", "models", "limits", "root_id",
    "rotated_to", "created_at_ms",
)  # fmt: skip


def add_key(db: Database, command: AddKey) -> Reply:
    """See `AddKey`."""
    if not _insert(db, command.record):
        return Reply(Result.EXISTS)
    if command.credit_nano:
        free = Grant(
            ref=f"key:{command.record.id}",
            account=command.record.credit_account,
            amount_nano=command.credit_nano,
            by=command.by,
        )
        if grant(db, free).result is not Result.CREATED:
            raise Undo(Result.INVALID)
    note(db, command.by, "add_key", public(command.record))
    return Reply(Result.CREATED)


def change_key(db: Database, command: ChangeKey) -> Reply:
    """See `ChangeKey`."""
    record = command.record
    known = db.one(
        "SELECT name, scopes, models, limits, expires_at_ms, revoked_at_ms FROM api_key WHERE id = ?", record.id
    )
    if known is None:
        return Reply(Result.NO_SUCH_KEY)
    revoked_at_ms = known[-1]
    wanted = (
        record.name, json.dumps(record.scopes), json.dumps(record.models), json.dumps(record.limits.given()),
        record.expires_at_ms, record.revoked_at_ms if revoked_at_ms is None else revoked_at_ms,
    )  # fmt: skip
    if known == wanted:
        return Reply(Result.CHANGED)
    db.change(
        "UPDATE api_key SET name = ?, scopes = ?, models = ?, limits = ?, expires_at_ms = ?, revoked_at_ms = ? WHERE id = ?",
        *wanted, record.id,
    )  # fmt: skip
    note(db, command.by, "change_key", public(record))
    return Reply(Result.CHANGED)


def rotate_key(db: Database, command: RotateKey) -> Reply:
    """See `RotateKey`."""
    if db.one("SELECT 1 FROM api_key WHERE id = ? AND rotated_to = ?", command.key_id, command.successor.id):
        return Reply(Result.EXISTS)
    ends_at_ms = db.now_ms + command.grace_ms
    rotated = db.change(
        "UPDATE api_key SET rotated_to = ?, expires_at_ms = CASE WHEN expires_at_ms < ? THEN expires_at_ms ELSE ? END"
        " WHERE id = ? AND rotated_to IS NULL AND revoked_at_ms IS NULL AND (expires_at_ms IS NULL OR expires_at_ms > ?)",
        command.successor.id, ends_at_ms, ends_at_ms, command.key_id, db.now_ms,
    )  # fmt: skip
    if not rotated:
        return Reply(Result.NO_SUCH_KEY)
    if not _insert(db, command.successor):
        raise Undo(Result.EXISTS_WITH_DIFFERENT_CONTENT)
    note(db, command.by, "rotate_key", {"key_id": command.key_id, "successor": public(command.successor)})
    return Reply(Result.CREATED)


def record_of(row: Row) -> KeyRecord:
    """The record in a row of `COLUMNS`."""
    fields = dict(zip(COLUMNS, row, strict=True))
    read = {name: tuple(json.loads(fields[name])) for name in ("scopes", "models")}
    return KeyRecord(**fields | read | {"limits": RateLimits(**json.loads(fields["limits"]))})


def public(record: KeyRecord) -> dict[str, object]:
    """What may be shown of a key."""
    shown = asdict(record)
    del shown["sha256"]
    return shown


def _insert(db: Database, record: KeyRecord) -> int:
    try:
        return db.change(
            f"INSERT INTO api_key ({', '.join(COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            record.id, record.sha256, record.org_id, record.project_id, record.name, json.dumps(record.scopes),
            record.expires_at_ms, record.revoked_at_ms, json.dumps(record.models), json.dumps(record.limits.given()),
            record.root_id, record.rotated_to, db.now_ms,
        )  # fmt: skip
    except Refused as refused:
        raise Undo(Result.INVALID) from refused

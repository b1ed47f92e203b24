"""The embedded store: one SQLite file in WAL mode with `synchronous=FULL`, and exactly one writer.

Rules are guarded once, by the schema or by a statement's WHERE; no comparison is repeated here. So a guard that is lost
turns a test red instead of hiding behind a second one.
"""

import fcntl
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, assert_never

from accounting.command import AddKey, AddPrice, Attempt, Command, Grant, Hold, Outcome, Post, Result, Void
from accounting.key import KeyRecord
from accounting.price import Price
from accounting.store import Snapshot, StoreError, Total

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("schema.sql")
REVENUE = "revenue"
GRANTS = "contra:grant"
FULL = 2  # PRAGMA synchronous


class SqliteStore:
    """Implements `accounting.store.Store`. `now_ms` is the store's clock, in milliseconds UTC."""

    def __init__(self, file: Path, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _only_writer(file)
        # The writer calls from a pool thread, one call at a time.
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        try:
            with _translated(file):
                self._be_durable(file)
                self._migrate(file)
        except StoreError:
            self.close()
            raise

    def apply(self, commands: Sequence[Command]) -> list[Result]:
        """See `Store.apply`. Raises `StoreError`."""
        with self._transaction():
            return [self._one(command) for command in commands]

    def sweep(self) -> int:
        """See `Store.sweep`. Raises `StoreError`."""
        with self._transaction():
            now_ms = self._now_ms()
            expired = self._db.execute(
                "UPDATE hold SET state = 'void', why = ?, closed_at_ms = ? WHERE state = 'open' AND expires_at_ms <= ?"
                " RETURNING parts, amount_nano",
                (Outcome.EXPIRED, now_ms, now_ms),
            ).fetchall()
            for parts, amount_nano in expired:
                self._release(json.loads(parts), amount_nano)
            return len(expired)

    def keys(self) -> list[KeyRecord]:
        """See `Store.keys`."""
        with self._reader() as db:
            rows = db.execute(
                "SELECT id, sha256, org_id, project_id, name, scopes, expires_at_ms, revoked_at_ms FROM api_key"
            ).fetchall()
        return [
            KeyRecord(key_id, sha256, org_id, project_id, name, tuple(json.loads(scopes)), expires_at_ms, revoked_at_ms)
            for key_id, sha256, org_id, project_id, name, scopes, expires_at_ms, revoked_at_ms in rows
        ]

    def snapshot(self) -> Snapshot:
        """See `Store.snapshot`."""
        with self._reader() as db:
            totals = db.execute(
                "SELECT model, outcome, count(*), coalesce(sum(images), 0), coalesce(sum(vision_tokens), 0),"
                " coalesce(sum(text_tokens), 0), coalesce(sum(output_tokens), 0), sum(charged_nano)"
                " FROM usage GROUP BY model, outcome ORDER BY model, outcome"
            ).fetchall()
            holds = db.execute("SELECT count(*), coalesce(sum(amount_nano), 0) FROM hold WHERE state = 'open'")
            holds_open, reserved_nano = holds.fetchone()
        return Snapshot(tuple(Total(*row) for row in totals), holds_open, reserved_nano)

    def close(self) -> None:
        """See `Store.close`."""
        self._db.close()
        self._lock.close()

    def _one(self, command: Command) -> Result:
        """Carry out one command; a refusal by the schema undoes this command only."""
        self._db.execute("SAVEPOINT command")
        try:
            result = self._dispatch(command)
        except (sqlite3.IntegrityError, OverflowError) as error:
            self._db.execute("ROLLBACK TO command")
            result = _refusal(command, error)
        self._db.execute("RELEASE command")
        return result

    def _dispatch(self, command: Command) -> Result:
        match command:
            case Hold():
                return self._hold(command)
            case Post():
                return self._post(command)
            case Void():
                return self._void(command)
            case Grant():
                return self._grant(command)
            case AddKey():
                return self._add_key(command.record)
            case AddPrice():
                return self._add_price(command.price)
            case _:
                assert_never(command)

    def _hold(self, hold: Hold) -> Result:
        now_ms = self._now_ms()
        created = self._db.execute(
            "INSERT INTO hold (request_id, gateway_id, key_id, model, price_version, tier, units, parts, amount_nano,"
            " state, body_sha, user_id, metadata, created_at_ms, expires_at_ms)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open', ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                hold.request_id,
                hold.gateway_id,
                hold.key_id,
                hold.model,
                hold.price_version,
                hold.tier,
                json.dumps({"images": hold.image_units, "output": hold.output_units}),
                json.dumps(hold.accounts),
                hold.amount_nano,
                hold.body_sha,
                hold.user_id,
                hold.metadata,
                now_ms,
                now_ms + hold.expires_in_ms,
            ),
        ).rowcount
        if not created:
            same = self._db.execute(
                "SELECT 1 FROM hold WHERE request_id = ? AND gateway_id = ? AND key_id = ? AND body_sha = ?"
                " AND model = ? AND price_version = ? AND parts = ? AND amount_nano = ?",
                (
                    hold.request_id,
                    hold.gateway_id,
                    hold.key_id,
                    hold.body_sha,
                    hold.model,
                    hold.price_version,
                    json.dumps(hold.accounts),
                    hold.amount_nano,
                ),
            ).fetchone()
            return Result.EXISTS if same else Result.EXISTS_WITH_DIFFERENT_CONTENT
        for account in hold.accounts:
            reserved = self._db.execute(
                "UPDATE account SET reserved_nano = reserved_nano + ? WHERE id = ?", (hold.amount_nano, account)
            ).rowcount
            if not reserved:
                self._db.execute("ROLLBACK TO command")
                return Result.NO_SUCH_ACCOUNT
        return Result.CREATED

    def _post(self, post: Post) -> Result:
        now_ms = self._now_ms()
        ended = self._db.execute(
            "UPDATE hold SET state = 'posted', charged_nano = ?, why = ?, closed_at_ms = ?"
            " WHERE request_id = ? AND attempt = ? AND state = 'open' RETURNING parts, amount_nano",
            (post.charged_nano, post.outcome, now_ms, post.request_id, post.attempt),
        ).fetchone()
        if ended is None:
            return self._why_not_open(post.request_id)
        accounts, amount_nano = json.loads(ended[0]), ended[1]
        self._release(accounts, amount_nano)
        if post.charged_nano:
            for account in accounts:
                self._book("charge", post.request_id, account, post.charged_nano, now_ms)
            self._book("charge", post.request_id, REVENUE, -post.charged_nano * len(accounts), now_ms)
        self._record(post.request_id, post.attempt, post.record, charged=True)
        return Result.POSTED

    def _void(self, void: Void) -> Result:
        ended = self._db.execute(
            "UPDATE hold SET state = 'void', why = ?, closed_at_ms = ?"
            " WHERE request_id = ? AND attempt = ? AND state = 'open' RETURNING parts, amount_nano",
            (void.outcome, self._now_ms(), void.request_id, void.attempt),
        ).fetchone()
        if ended is None:
            return self._why_not_open(void.request_id)
        self._release(json.loads(ended[0]), ended[1])
        self._record(void.request_id, void.attempt, void.record, charged=False)
        return Result.VOIDED

    def _grant(self, grant: Grant) -> Result:
        now_ms = self._now_ms()
        # Prepaid: the limit is 0, and a grant makes `posted` negative.
        self._db.execute(
            "INSERT INTO account (id, kind, limit_nano) VALUES (?, 'credit', 0) ON CONFLICT DO NOTHING",
            (grant.account,),
        )
        self._book("grant", grant.ref, grant.account, -grant.amount_nano, now_ms)
        self._book("grant", grant.ref, GRANTS, grant.amount_nano, now_ms)
        return Result.CREATED

    def _add_key(self, record: KeyRecord) -> Result:
        added = self._db.execute(
            "INSERT INTO api_key (id, sha256, org_id, project_id, name, scopes, created_at_ms, expires_at_ms,"
            " revoked_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                record.id,
                record.sha256,
                record.org_id,
                record.project_id,
                record.name,
                json.dumps(record.scopes),
                self._now_ms(),
                record.expires_at_ms,
                record.revoked_at_ms,
            ),
        ).rowcount
        return Result.CREATED if added else Result.EXISTS

    def _add_price(self, price: Price) -> Result:
        content = (
            price.unit_nano,
            price.batch_unit_nano,
            price.text_token_nano,
            price.output_token_nano,
            price.basis,
        )
        added = self._db.execute(
            "INSERT INTO price VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (price.model, price.version, self._now_ms(), *content),
        ).rowcount
        if added:
            return Result.CREATED
        stored = self._db.execute(
            "SELECT unit_nano, batch_unit_nano, text_token_nano, output_token_nano, basis FROM price"
            " WHERE model = ? AND version = ?",
            (price.model, price.version),
        ).fetchone()
        return Result.EXISTS if stored == content else Result.EXISTS_WITH_DIFFERENT_CONTENT

    def _release(self, accounts: Sequence[str], amount_nano: int) -> None:
        self._db.executemany(
            "UPDATE account SET reserved_nano = reserved_nano - ? WHERE id = ?",
            [(amount_nano, account) for account in accounts],
        )

    def _book(self, kind: str, ref: str, account: str, amount_nano: int, now_ms: int) -> None:
        self._db.execute(
            "INSERT INTO entry (kind, ref, account_id, amount_nano, at_ms) VALUES (?, ?, ?, ?, ?)",
            (kind, ref, account, amount_nano, now_ms),
        )
        self._db.execute("UPDATE account SET posted_nano = posted_nano + ? WHERE id = ?", (amount_nano, account))

    def _record(self, request_id: str, attempt: int, record: Attempt, charged: bool) -> None:
        self._db.execute(
            "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request_id,
                attempt,
                record.replica_id,
                record.finish,
                record.images,
                record.text_tokens,
                record.vision_tokens,
                record.cached_tokens,
                record.output_tokens,
                record.ttft_ms,
                record.latency_ms,
                charged,
            ),
        )

    def _why_not_open(self, request_id: str) -> Result:
        row = self._db.execute("SELECT state FROM hold WHERE request_id = ?", (request_id,)).fetchone()
        match row and row[0]:
            case "posted":
                return Result.ALREADY_POSTED
            case "void":
                return Result.ALREADY_VOID
            case "open":
                return Result.NOT_THE_CURRENT_ATTEMPT
        return Result.NO_SUCH_HOLD

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, for any thread: WAL lets it read while another writes."""
        with (
            _translated(self._file),
            closing(sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)) as db,
        ):
            yield db

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # A failed COMMIT (full disk) may have rolled back already.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _be_durable(self, file: Path) -> None:
        """Ask for durability, and read back whether it was granted: a silent no would break every promise."""
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        self._db.execute(f"PRAGMA synchronous = {FULL}")
        (synchronous,) = self._db.execute("PRAGMA synchronous").fetchone()
        self._db.execute("PRAGMA foreign_keys = ON")
        # Else INSERT OR REPLACE would pass by the triggers that forbid to delete.
        self._db.execute("PRAGMA recursive_triggers = ON")
        if (mode, synchronous) != ("wal", FULL):
            raise StoreError(f"{file}: WAL with synchronous=FULL was not honoured; put the ledger on a local disk")

    def _migrate(self, file: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise StoreError(f"{file}: written by a newer vlmfleet (schema {version}, here {SCHEMA_VERSION}); upgrade")
        if version == SCHEMA_VERSION:
            return
        schema = SCHEMA.read_text(encoding="utf-8")
        self._db.executescript(f"BEGIN; {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _refusal(command: Command, error: sqlite3.IntegrityError | OverflowError) -> Result:
    """Which rule refused a command: the schema's constraints have names."""
    match command, str(error):
        case Hold(), "CHECK constraint failed: room":
            return Result.NO_ROOM
        case Hold(), "FOREIGN KEY constraint failed":
            return Result.NO_SUCH_PRICE
        case Post(), "CHECK constraint failed: within_the_hold":
            return Result.ABOVE_THE_HOLD
        case Grant(), "UNIQUE constraint failed: entry.kind, entry.ref, entry.account_id":
            return Result.EXISTS
    return Result.INVALID


def _only_writer(file: Path) -> IO[str]:
    """Lock the ledger for this process. Raises `StoreError` if another process has it."""
    lock = file.with_name(file.name + ".lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreError(f"{file}: another process writes this ledger; a SQLite ledger has one writer") from error
    return lock


@contextmanager
def _translated(file: Path | None = None) -> Iterator[None]:
    """The one place where SQLite's errors become ours."""
    try:
        yield
    except sqlite3.Error as error:
        where = f"{file}: " if file else ""
        raise StoreError(f"{where}the ledger's SQLite file failed: {error}; check its disk") from error
